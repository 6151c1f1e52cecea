//! The TAP side of a port: the interface that the kernel and its daemons see, and the two tasks
//! that carry frames between it and the workers' rings.
//!
//! Both sides of a TAP speak of large TCP frames (`vnet`): those from the kernel are cut (`segment`),
//! those for the kernel are joined (`coalesce`). What a worker sees is always a frame of the wire.

mod coalesce;
mod queue;
mod segment;
#[cfg(test)]
mod testing;
mod vnet;

use std::future::ready;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use futures_util::TryStreamExt;
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::{Handle, LinkUnspec};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

pub use self::coalesce::Coalescer;
use self::queue::Queue;
pub use self::segment::Segments;
pub use self::vnet::VnetHeader;
use crate::dataplane::bell::Bell;
use crate::dataplane::ring::{MAX_PACKET, PacketReceiver, PacketSender};
use crate::shared::mac::MacAddr;

/// Frames of one worker that are moved before the next worker's turn comes.
const BUDGET: usize = 256;

/// The longest IP packet, with an Ethernet header and VLAN tags.
const MAX_FRAME: usize = 65_535 + 14 + 8;

/// Why a TAP is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    #[error("there is an interface {0} already: choose another port name or `ip link del {0}`")]
    Exists(String),
    #[error("cannot create TAP {name}: {reason}; it takes CAP_NET_ADMIN (root) and /dev/net/tun")]
    Create { name: String, reason: String },
    #[error("cannot set up TAP {name}: {source}")]
    SetUp {
        name: String,
        source: rtnetlink::Error,
    },
}

/// A TAP interface; it vanishes when the last holder of its descriptor goes.
pub struct Tap {
    name: String,
    ifindex: u32,
    handle: Handle,
    queue: Arc<Queue>,
}

impl Tap {
    /// Creates the interface with a port's MAC and MTU, without carrier, and sets it up.
    pub async fn create(
        handle: &Handle,
        name: &str,
        mac: MacAddr,
        mtu: u32,
    ) -> Result<Tap, TapError> {
        if if_nametoindex(name).is_ok() {
            return Err(TapError::Exists(name.to_owned()));
        }
        let failed = |reason: String| TapError::Create {
            name: name.to_owned(),
            reason,
        };
        let queue = Queue::create(name).map_err(|error| failed(error.to_string()))?;
        let ifindex = if_nametoindex(name).map_err(|error| failed(error.to_string()))?;
        let tap = Tap {
            name: name.to_owned(),
            ifindex,
            handle: handle.clone(),
            queue: Arc::new(queue),
        };
        // Down first: the link-local address is made from the MAC when the interface comes up, and
        // only a carrier that comes and not one that was there makes its operstate UP.
        let link = || LinkUnspec::new_with_index(ifindex);
        tap.set(link().carrier(false).build()).await?;
        tap.set(link().address(mac.0.to_vec()).mtu(mtu).up().build())
            .await?;
        Ok(tap)
    }

    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// True when somebody deleted the interface, or moved it to another network namespace.
    pub fn is_gone(&self) -> bool {
        // By name: nix's if_indextoname takes the C function's NULL for success.
        if_nametoindex(self.name.as_str()) != Ok(self.ifindex)
    }

    /// Lets the kernel see the port's carrier, and act on it at once.
    pub async fn set_carrier(&self, carrier: bool) -> Result<(), TapError> {
        self.set(
            LinkUnspec::new_with_index(self.ifindex)
                .carrier(carrier)
                .build(),
        )
        .await?;
        // A carrier that goes, the kernel looks at up to a second later, unless it is asked for it
        // (linkwatch_sync_dev in net/core/link_watch.c, since Linux 6.8).
        let request = self.handle.link().get().match_index(self.ifindex);
        let asked = request.execute().try_for_each(|_| ready(Ok(()))).await;
        asked.map_err(|source| self.failed(source))
    }

    pub async fn set_mtu(&self, mtu: u32) -> Result<(), TapError> {
        self.set(LinkUnspec::new_with_index(self.ifindex).mtu(mtu).build())
            .await
    }

    async fn set(&self, message: LinkMessage) -> Result<(), TapError> {
        let set = self.handle.link().set(message).execute().await;
        set.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rtnetlink::Error) -> TapError {
        TapError::SetUp {
            name: self.name.clone(),
            source,
        }
    }

    /// Starts carrying frames, until the guard that is returned is dropped or the interface is
    /// deleted.
    pub fn carry(&self, rings: TapRings) -> Carrier {
        let to_kernel = deliver(Arc::clone(&self.queue), rings.punts, rings.punt_bell);
        let from_kernel = inject(
            Arc::clone(&self.queue),
            rings.injections,
            rings.worker_bell,
            rings.room_bell,
        );
        Carrier([
            tokio::spawn(async move { ended("deliver", to_kernel.await) }),
            tokio::spawn(async move { ended("inject", from_kernel.await) }),
        ])
    }
}

/// The mirror tells when an interface is gone; the rest is for who debugs.
fn ended(task: &str, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(task, "a TAP's task ended: {error}");
    }
}

/// The control ends of a port's rings.
#[derive(Debug)]
pub struct TapRings {
    /// One a worker: frames for the kernel.
    pub punts: Vec<PacketReceiver>,
    pub punt_bell: Arc<Bell>,
    /// To the worker that sends what the kernel sent.
    pub injections: PacketSender,
    pub worker_bell: Arc<Bell>,
    /// Rung by the worker when it has made room.
    pub room_bell: Arc<Bell>,
}

/// Ends the tasks when dropped.
#[derive(Debug)]
pub struct Carrier([JoinHandle<()>; 2]);

impl Carrier {
    /// Ends the tasks and waits until they hold the TAP no longer: its name is free again once the
    /// [`Tap`] goes too.
    pub async fn end(mut self) {
        for task in &mut self.0 {
            task.abort();
            // Cancelled, as it should be.
            let _ = task.await;
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// A task's side of a [`Bell`].
struct Sleeper {
    bell: Arc<Bell>,
    rung: pipe::Receiver,
}

impl Sleeper {
    fn new(bell: Arc<Bell>) -> io::Result<Sleeper> {
        let rung = pipe::Receiver::from_owned_fd(bell.as_fd().try_clone_to_owned()?)?;
        Ok(Sleeper { bell, rung })
    }

    /// Announces a sleep: look once more for work after this, then call [`Self::sleep_unless`].
    fn arm(&self) {
        self.bell.arm();
    }

    /// Sleeps until the bell rings, unless that look found work.
    async fn sleep_unless(&self, work: bool) -> io::Result<()> {
        if !work {
            self.rung.readable().await?;
        }
        // Through tokio, so that it waits for the next ring and not for this one again.
        let _ = self.rung.try_read(&mut [0; 16]);
        self.bell.disarm();
        Ok(())
    }
}

/// Writes punted frames to the TAP, TCP segments in a row as one.
async fn deliver(
    queue: Arc<Queue>,
    mut punts: Vec<PacketReceiver>,
    bell: Arc<Bell>,
) -> io::Result<()> {
    let sleeper = Sleeper::new(bell)?;
    let mut scratch = vec![0; MAX_PACKET];
    let mut row = Coalescer::new();
    loop {
        let mut moved = false;
        for ring in &mut punts {
            moved |= drain(&queue, ring, &mut row, &mut scratch).await?;
        }
        if moved {
            tokio::task::yield_now().await;
            continue;
        }
        sleeper.arm();
        let waiting = !punts.iter().all(PacketReceiver::is_empty);
        sleeper.sleep_unless(waiting).await?;
    }
}

/// Writes up to [`BUDGET`] frames of a ring; whether there were any.
async fn drain(
    queue: &Queue,
    ring: &mut PacketReceiver,
    row: &mut Coalescer,
    scratch: &mut [u8],
) -> io::Result<bool> {
    let (mut moved, mut joined) = (false, 0);
    for _ in 0..BUDGET {
        let Some(packet) = ring.peek(scratch) else {
            break;
        };
        moved = true;
        let frame = packet.bytes();
        if !row.take(frame) {
            joined += release(queue, row).await?;
            if !row.take(frame) {
                write(queue, VnetHeader::default(), frame).await?;
            }
        }
        packet.done();
    }
    joined += release(queue, row).await?;
    ring.note_joined(joined);
    Ok(moved)
}

/// Writes what is held, and returns how many frames were spared by joining it.
async fn release(queue: &Queue, row: &mut Coalescer) -> io::Result<u32> {
    let Some((header, frame, count)) = row.release() else {
        return Ok(0);
    };
    write(queue, header, frame).await?;
    Ok(u32::from(count) - 1)
}

/// Writes a frame; an error only when the TAP is gone.
async fn write(queue: &Queue, header: VnetHeader, frame: &[u8]) -> io::Result<()> {
    match queue.send(header, frame).await {
        // EIO: the interface is down, and the kernel would drop the frame as well.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => {}
        Err(error) if is_fatal(&error) => return Err(error),
        Err(error) => tracing::debug!("the TAP refused a frame: {error}"),
        Ok(()) => {}
    }
    Ok(())
}

/// Reads what the kernel sends on the TAP and hands it to the worker. While the ring is full the TAP
/// is not read: its own queue fills, and the kernel's senders feel it.
async fn inject(
    queue: Arc<Queue>,
    mut ring: PacketSender,
    worker: Arc<Bell>,
    room: Arc<Bell>,
) -> io::Result<()> {
    let sleeper = Sleeper::new(room)?;
    let mut buffer = vec![0; vnet::HEADER_LEN + MAX_FRAME];
    loop {
        let len = match queue.receive(&mut buffer).await {
            Ok(len) => len,
            Err(error) if is_fatal(&error) => return Err(error),
            Err(error) => {
                tracing::debug!("the TAP could not be read: {error}");
                continue;
            }
        };
        let Some((header, frame)) = buffer[..len].split_first_chunk_mut() else {
            continue;
        };
        let Some(mut segments) = Segments::new(VnetHeader::from_bytes(header), frame) else {
            tracing::debug!("the TAP gave a frame that does not fit its header");
            continue;
        };
        while let Some(segment) = segments.next_segment() {
            if segment.len() > MAX_PACKET {
                tracing::debug!("the TAP gave a frame longer than any port sends");
                continue;
            }
            while !ring.push(segment) {
                worker.ring();
                sleeper.arm();
                sleeper.sleep_unless(ring.has_room(segment.len())).await?;
            }
        }
        worker.ring();
    }
}

/// EBADFD: the interface behind the descriptor is gone.
fn is_fatal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBADFD | libc::EBADF | libc::ENODEV)
    )
}
