//! A TAP interface: made when it is not there, opened when it is. Bringing it up, giving it
//! addresses or a bridge is left to whoever uses it. One that is deleted is a cable pulled out for
//! good.

use super::{MAX_FRAME, WireError};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `struct ifreq` as TUNSETIFF reads it: a name, flags, and the rest of the union.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

const SET_INTERFACE: Opcode = rustix::ioctl::opcode::write::<libc::c_int>(b'T', 202);

/// The shortest frame of Ethernet, without FCS.
const MIN_FRAME: usize = 60;

pub struct Tap {
    /// None when the interface is gone.
    file: Option<OwnedFd>,
}

impl Tap {
    pub(super) fn open(name: &str) -> Result<Tap, WireError> {
        let taken = name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(&byte));
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || !taken || [".", ".."].contains(&name)
        {
            return Err(WireError::TapName(name.to_owned()));
        }
        attach(name).map_err(|error| WireError::Tap {
            name: name.to_owned(),
            error: error.into(),
        })
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn is_there(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn receive(&mut self, frame: &mut [u8; MAX_FRAME]) -> Option<usize> {
        let len = match rustix::io::read(self.file.as_ref()?, &mut *frame) {
            Ok(len) => len,
            Err(Errno::AGAIN | Errno::INTR) => return None,
            // Polled any longer, the file would have something to tell again and again.
            Err(_) => {
                self.file = None;
                return None;
            }
        };
        // The kernel leaves padding to the card that a TAP does not have.
        let padded = len.max(MIN_FRAME);
        frame[len..padded].fill(0);
        (len > 0).then_some(padded)
    }

    pub(super) fn transmit(&mut self, frame: &[u8]) {
        if let Some(file) = &self.file {
            // An interface that is down or has a full queue loses the frame.
            let _lost = rustix::io::write(file, frame);
        }
    }
}

#[allow(unsafe_code, reason = "an ioctl")]
fn attach(name: &str) -> Result<Tap, Errno> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    let flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI).unwrap_or_default();
    let mut request = InterfaceRequest {
        name: [0; libc::IFNAMSIZ],
        flags,
        rest: [0; 22],
    };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: TUNSETIFF reads a `struct ifreq`, which is 40 bytes, and nothing else of ours.
    unsafe { rustix::ioctl::ioctl(&file, Setter::<SET_INTERFACE, _>::new(request)) }?;
    Ok(Tap { file: Some(file) })
}

const _: () = assert!(size_of::<InterfaceRequest>() == size_of::<libc::ifreq>());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_gone_is_not_polled_any_longer() {
        // Reading it fails, as reading a TAP does that was deleted.
        let unreadable = rustix::fs::open("/dev/null", OFlags::WRONLY, Mode::empty()).unwrap();
        let mut tap = Tap {
            file: Some(unreadable),
        };
        assert!(tap.is_there() && tap.fd().is_some());
        assert_eq!(tap.receive(&mut [0; MAX_FRAME]), None);
        assert!(!tap.is_there() && tap.fd().is_none());
        tap.transmit(&[0; MIN_FRAME]);
    }
}
