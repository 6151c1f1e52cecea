//! The few raw system calls of this driver, with the error number turned into `io::Error`.

#![allow(unsafe_code, reason = "socket, setsockopt and getsockopt by libc")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The result of a system call that returns -1 on error.
pub(super) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// The length of a value as the kernel wants it told.
fn socklen<T>() -> io::Result<libc::socklen_t> {
    libc::socklen_t::try_from(size_of::<T>()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// A socket, closed on exec.
pub(super) fn socket(family: libc::c_int, kind: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = check(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: a descriptor that was just made and that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets a socket option. `T` must be the plain C struct or integer that the option takes.
pub(super) fn set_option<T: Copy>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let len = socklen::<T>()?;
    // SAFETY: the kernel reads `len` bytes, the size of the live value that is pointed to.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            len,
        )
    })?;
    Ok(())
}

/// A plain C struct that any bytes are a valid value of.
///
/// # Safety
/// All-zero and every other byte pattern must be a value of the type.
pub(super) unsafe trait Plain: Copy {}

// SAFETY: a struct of integers.
unsafe impl Plain for libc::xdp_mmap_offsets {}
// SAFETY: a struct of integers.
unsafe impl Plain for libc::xdp_statistics {}

/// Reads a socket option; what the kernel does not write stays zero.
pub(super) fn option<T: Plain>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = socklen::<T>()?;
    // SAFETY: the kernel writes at most `len` bytes into a value of that size.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            option,
            value.as_mut_ptr().cast(),
            &raw mut len,
        )
    })?;
    // SAFETY: zeroed or written by the kernel; both are values of a `Plain` type.
    Ok(unsafe { value.assume_init() })
}

/// Binds an AF_XDP socket to a queue of a netdev; with XDP_SHARED_UMEM, to share what `registered` has.
pub(super) fn bind_xdp(
    fd: BorrowedFd<'_>,
    ifindex: u32,
    queue: u32,
    flags: u16,
    registered: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: u16::try_from(libc::AF_XDP).map_err(io::Error::other)?,
        sxdp_flags: flags,
        sxdp_ifindex: ifindex,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: registered.map_or(0, |fd| fd.as_raw_fd().unsigned_abs()),
    };
    let len = socklen::<libc::sockaddr_xdp>()?;
    // SAFETY: the kernel reads `len` bytes of a live address of that size.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(())
}

/// Asks the kernel to transmit: a `sendto` of no bytes that does not block.
pub(super) fn send_nothing(fd: BorrowedFd<'_>) -> io::Result<()> {
    let (fd, flags) = (fd.as_raw_fd(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
    // SAFETY: no bytes and no address: null pointers of length zero.
    let sent = unsafe { libc::sendto(fd, std::ptr::null(), 0, flags, std::ptr::null(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Asks the kernel to receive: a `recvfrom` of no bytes that does not block. What it answers does
/// not matter: frames show in the receive ring.
pub(super) fn receive_nothing(fd: BorrowedFd<'_>) {
    let (fd, flags, null) = (fd.as_raw_fd(), libc::MSG_DONTWAIT, std::ptr::null_mut());
    // SAFETY: no buffer and no address: null pointers of length zero.
    unsafe {
        libc::recvfrom(
            fd,
            null,
            0,
            flags,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    };
}

/// Opens a packet socket that receives nothing itself, but as long as it lives has the netdev
/// receive frames to all multicast addresses, or to all addresses at all: the groups that the
/// kernel joined on the port's TAP are not in the netdev's own filter.
pub(super) fn open_filter(ifindex: u32, promiscuous: bool) -> io::Result<OwnedFd> {
    /// `struct packet_mreq`
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Membership {
        ifindex: u32,
        kind: u16,
        address_len: u16,
        address: [u8; 8],
    }
    const PACKET_MR_PROMISC: u16 = 1;
    const PACKET_MR_ALLMULTI: u16 = 2;
    let membership = Membership {
        ifindex,
        kind: if promiscuous {
            PACKET_MR_PROMISC
        } else {
            PACKET_MR_ALLMULTI
        },
        address_len: 0,
        address: [0; 8],
    };
    let fd = socket(libc::AF_PACKET, libc::SOCK_RAW)?;
    let add = libc::PACKET_ADD_MEMBERSHIP;
    set_option(fd.as_fd(), libc::SOL_PACKET, add, &membership)?;
    Ok(fd)
}
