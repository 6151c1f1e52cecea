//! Frames that show where the shared routes lead: sent to one port all the time, looked at where
//! the other sends them.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ixmap_lab::{Error, Result, Tap};

use crate::router::Router;

/// Between two frames.
const PACE: Duration = Duration::from_micros(50);
const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

pub(crate) struct Probe {
    sender: Tap,
    watcher: Tap,
    frame: Vec<u8>,
}

impl Probe {
    /// Frames to `destination`, into port `wan`.
    pub(crate) fn open(router: &Router, destination: Ipv4Addr) -> Result<Probe> {
        let mac = router
            .namespace
            .run(&["cat", "/sys/class/net/wan/address"])?;
        let mac: Vec<u8> = mac
            .trim()
            .split(':')
            .filter_map(|byte| u8::from_str_radix(byte, 16).ok())
            .collect();
        Ok(Probe {
            sender: Tap::open(&router.namespace, "p1")?,
            watcher: Tap::open(&router.namespace, "p0")?,
            frame: frame(&mac, destination),
        })
    }

    /// How long `replace` takes, and the time from its start until the first frame leaves to the
    /// gateway.
    pub(crate) fn until_redirected(
        &self,
        gateway: u8,
        replace: impl FnOnce() -> Result<()>,
    ) -> Result<(Duration, Duration)> {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| self.send_until(&done));
            let watcher = scope.spawn(|| self.first_to(gateway));
            let start = Instant::now();
            let replaced = replace().map(|()| start.elapsed());
            let seen = watcher
                .join()
                .map_err(|_| Error::NotReady("the watcher ended".to_owned()));
            done.store(true, Ordering::Relaxed);
            Ok((replaced?, seen?? - start))
        })
    }

    fn send_until(&self, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            // One frame less, of thousands: the next is sent anyway.
            let _ = self.sender.send(&self.frame);
            thread::sleep(PACE);
        }
    }

    fn first_to(&self, gateway: u8) -> Result<Instant> {
        let what = format!("a frame to gateway {gateway}");
        let mac = [2, 0, 0, 0, 9, gateway];
        self.watcher
            .wait_for(&what, |frame| frame.starts_with(&mac))?;
        Ok(Instant::now())
    }
}

/// A UDP datagram of 60 bytes.
fn frame(to: &[u8], destination: Ipv4Addr) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 46, 0, 1, 0, 0, 64, 17, 0, 0];
    header.extend(SOURCE.octets());
    header.extend(destination.octets());
    let sum: u32 = header
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = to.to_vec();
    frame.extend([2, 0, 0, 0, 0, 0x99, 8, 0]);
    frame.extend(header);
    frame.extend([0, 9, 0, 9, 0, 26, 0, 0]);
    frame.resize(60, 0);
    frame
}
