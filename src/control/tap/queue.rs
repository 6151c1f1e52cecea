//! The descriptor behind a TAP: frames with a virtio header before each, so that checksums and TCP
//! segmentation can be left to whichever side does them best.

#![allow(
    unsafe_code,
    reason = "ioctl by libc, with a union; registering a descriptor"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use tokio::io::unix::AsyncFd;

use super::vnet::VnetHeader;

/// What the kernel may leave to us when it sends: `segment` does it.
const OFFLOADS: libc::c_uint =
    libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;

#[derive(Debug)]
pub(super) struct Queue(AsyncFd<File>);

impl Queue {
    /// Creates the interface; it goes with the descriptor.
    pub(super) fn create(name: &str) -> io::Result<Queue> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")?;
        attach(&file, name)?;
        // SAFETY: the descriptor is open; the argument is a number, not a pointer.
        let set = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, OFFLOADS) };
        if set < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a `File` owns its descriptor and has the same one for as long as it lives.
        let registered = unsafe { AsyncFd::register(file) };
        Ok(Queue(registered?))
    }

    /// Reads a header and the frame behind it.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(result) = ready.try_io(|fd| fd.get_ref().read(buffer)) {
                return result;
            }
        }
    }

    pub(super) async fn send(&self, header: VnetHeader, frame: &[u8]) -> io::Result<()> {
        let header = header.to_bytes();
        let parts = [IoSlice::new(&header), IoSlice::new(frame)];
        loop {
            let mut ready = self.0.writable().await?;
            if let Ok(result) = ready.try_io(|fd| fd.get_ref().write_vectored(&parts)) {
                // The kernel takes a frame whole or not at all.
                return result.map(drop);
            }
        }
    }
}

/// Makes `file` the only queue of a new TAP.
fn attach(file: &File, name: &str) -> io::Result<()> {
    let mut ifr_name = [0; libc::IFNAMSIZ];
    if name.is_empty() || name.len() >= ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (slot, byte) in ifr_name.iter_mut().zip(name.bytes()) {
        *slot = libc::c_char::from_ne_bytes([byte]);
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let ifru_flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
    let request = libc::ifreq {
        ifr_name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags },
    };
    // SAFETY: the descriptor is open, and the request, of the type that TUNSETIFF takes, lives
    // through the call.
    match unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
