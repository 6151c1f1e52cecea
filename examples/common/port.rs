//! A worker's port without a kernel behind it.

use std::io;
use std::sync::Arc;

use ixmap::dataplane::bell::Bell;
use ixmap::dataplane::port::PortQueue;
use ixmap::dataplane::ring::packet_ring;
use ixmap::dataplane::worker::Attachment;
use ixmap::shared::port::PortId;
use ixmap::shared::stats::PortCounters;

/// A port whose punts nobody takes: there are none.
pub(crate) fn attachment(
    port: PortId,
    queue: PortQueue,
    counters: Arc<PortCounters>,
) -> io::Result<Box<Attachment>> {
    let (punts, _) = packet_ring(1 << 16);
    let bell = Arc::new(Bell::new()?);
    let attachment = Attachment::new(port, queue, counters, punts, bell, None);
    Ok(Box::new(attachment))
}
