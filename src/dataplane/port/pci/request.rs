//! ioctl(2) with a plain structure, or a number.

#![allow(unsafe_code, reason = "ioctl has no safe form")]

use std::ffi::{c_int, c_ulong};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What a structure must be to be handed to the kernel.
///
/// # Safety
/// `repr(C)`, no padding, any bytes are a value of it.
pub(super) unsafe trait Plain: Sized {}

// SAFETY: a number.
unsafe impl Plain for u32 {}

/// A request whose argument is a `T`.
#[derive(Debug)]
pub(super) struct Request<T> {
    number: c_ulong,
    argument: PhantomData<fn(T)>,
}

const NONE: c_ulong = 0;
pub(super) const WRITE: c_ulong = 1;
pub(super) const READ: c_ulong = 2;

impl<T: Plain> Request<T> {
    /// `_IOR`, `_IOW` or `_IOWR`: the size is in the number.
    pub(super) const fn sized(direction: c_ulong, kind: u8, number: u8) -> Request<T> {
        let size = (size_of::<T>() as c_ulong) << 16;
        Request {
            number: direction << 30 | size | (kind as c_ulong) << 8 | number as c_ulong,
            argument: PhantomData,
        }
    }

    /// `_IO` with a pointer all the same, as VFIO has them: the structure begins with its size.
    pub(super) const fn unsized_number(kind: u8, number: u8) -> Request<T> {
        Request {
            number: NONE << 30 | (kind as c_ulong) << 8 | number as c_ulong,
            argument: PhantomData,
        }
    }

    /// Makes the request; the kernel may write to the argument.
    ///
    /// # Safety
    /// Pointers and lengths within `argument` are valid for what the request does with them.
    pub(super) unsafe fn make(&self, fd: BorrowedFd<'_>, argument: &mut T) -> io::Result<c_int> {
        // SAFETY: `argument` is as large as the request's structure (`Plain`), and lives during the
        // call; what it points to is the caller's business.
        let result =
            unsafe { libc::ioctl(fd.as_raw_fd(), self.number, std::ptr::from_mut(argument)) };
        checked(result)
    }
}

/// Makes a request whose argument is a number, or nothing.
pub(super) fn by_value(
    fd: BorrowedFd<'_>,
    kind: u8,
    number: u8,
    value: c_ulong,
) -> io::Result<c_int> {
    let request = NONE << 30 | c_ulong::from(kind) << 8 | c_ulong::from(number);
    // SAFETY: no pointer is passed.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), request, value) })
}

fn checked(result: c_int) -> io::Result<c_int> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}
