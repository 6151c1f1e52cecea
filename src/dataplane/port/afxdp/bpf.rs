//! The XDP program of a port (`program`) in the kernel, and the map of sockets that it redirects to.
//!
//! The program hangs on a BPF link, which the kernel dissolves at the latest when the last descriptor is
//! closed: it cannot outlive the process.

#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::ffi::c_long;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::{fmt, io};

use super::error::OpenError;
use super::program::{self, Instruction, Kind};

const BPF_MAP_CREATE: u32 = 0;
const BPF_MAP_UPDATE_ELEM: u32 = 2;
const BPF_PROG_LOAD: u32 = 5;
const BPF_LINK_CREATE: u32 = 28;
const BPF_LINK_DETACH: u32 = 34;
const BPF_MAP_TYPE_XSKMAP: u32 = 17;
const BPF_PROG_TYPE_XDP: u32 = 6;
/// The attach type of XDP programs.
const BPF_XDP: u32 = 37;
/// The program does not mind that a packet goes on in further buffers.
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Bytes of verifier log that are read, and how many of its lines, the last ones, an error carries.
const LOG_BYTES: u32 = 1 << 16;
const LOG_SIZE: usize = LOG_BYTES as usize;
const LOG_LINES: usize = 3;

/// The name that `bpftool` shows.
const NAME: [u8; 16] = *b"ixmap\0\0\0\0\0\0\0\0\0\0\0";

/// Where the XDP program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the stack behind a driver that has no XDP: slower, and only as good as what the stack
    /// hands over.
    Generic,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Native => "native",
            Mode::Generic => "generic",
        })
    }
}

/// Calls bpf(2).
///
/// # Safety
/// `A` must be the prefix of `union bpf_attr` that `command` takes, without padding, and every
/// pointer in it must be good for what the command does with it.
unsafe fn bpf<A>(command: u32, attributes: &A) -> io::Result<c_long> {
    // SAFETY: the kernel reads `size_of::<A>()` bytes of a live value; the rest is the caller's
    // promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<A>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// As [`bpf`], for commands that return a new descriptor.
///
/// # Safety
/// As for [`bpf`]; `command` must be one that makes a descriptor.
unsafe fn bpf_fd<A>(command: u32, attributes: &A) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let result = unsafe { bpf(command, attributes)? };
    let fd = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor in an attribute's field.
fn field(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// The map from receive queue to its AF_XDP sockets, one for each [`Kind`].
#[derive(Debug)]
struct SocketMap(OwnedFd);

impl SocketMap {
    /// A map for queues `0..queues`.
    fn create(queues: u32) -> io::Result<SocketMap> {
        #[repr(C)]
        struct Attributes {
            map_type: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
            map_flags: u32,
            inner_map_fd: u32,
            numa_node: u32,
            name: [u8; 16],
        }
        let attributes = Attributes {
            map_type: BPF_MAP_TYPE_XSKMAP,
            key_size: 4,
            value_size: 4,
            max_entries: queues.saturating_mul(Kind::COUNT.into()),
            map_flags: 0,
            inner_map_fd: 0,
            numa_node: 0,
            name: NAME,
        };
        // SAFETY: the fields of BPF_MAP_CREATE up to map_name; no pointers.
        unsafe { bpf_fd(BPF_MAP_CREATE, &attributes) }.map(SocketMap)
    }

    /// Puts a socket at `key`.
    fn insert(&self, key: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        #[repr(C)]
        struct Attributes {
            map: u32,
            reserved: u32,
            key: *const u32,
            value: *const u32,
            flags: u64,
        }
        let value = field(socket);
        let attributes = Attributes {
            map: field(self.0.as_fd()),
            reserved: 0,
            key: &raw const key,
            value: &raw const value,
            flags: 0,
        };
        // SAFETY: the fields of BPF_MAP_UPDATE_ELEM on a 64-bit machine; key and value are live and
        // of the sizes that the map was created with.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &attributes) }.map(drop)
    }
}

/// Loads the program for `sockets`, which drivers may run on packets in several buffers if it is to be
/// `multi_buffer`; the verifier's words go into the error.
fn load(device: &str, sockets: &SocketMap, multi_buffer: bool) -> Result<OwnedFd, OpenError> {
    #[repr(C)]
    struct Attributes {
        prog_type: u32,
        instruction_count: u32,
        instructions: *const Instruction,
        license: *const u8,
        log_level: u32,
        log_size: u32,
        log: *mut u8,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        ifindex: u32,
        expected_attach_type: u32,
    }
    let program = program::assemble(sockets.0.as_raw_fd());
    let mut attributes = Attributes {
        prog_type: BPF_PROG_TYPE_XDP,
        instruction_count: u32::try_from(program.len()).unwrap_or(u32::MAX),
        instructions: program.as_ptr(),
        license: c"Dual MIT/GPL".as_ptr().cast(),
        log_level: 0,
        log_size: 0,
        log: std::ptr::null_mut(),
        kernel_version: 0,
        flags: if multi_buffer { BPF_F_XDP_HAS_FRAGS } else { 0 },
        name: NAME,
        ifindex: 0,
        expected_attach_type: BPF_XDP,
    };
    // SAFETY: the fields of BPF_PROG_LOAD up to expected_attach_type, without padding; program and
    // licence are live, with the length told; there is no log.
    let source = match unsafe { bpf_fd(BPF_PROG_LOAD, &attributes) } {
        Ok(program) => return Ok(program),
        Err(source) => source,
    };
    if source.raw_os_error() == Some(libc::EPERM) {
        return Err(OpenError::system(device, "load the XDP program", source));
    }
    // Once more, to hear why. A log that does not fit would be a refusal by itself.
    let mut log = vec![0u8; LOG_SIZE];
    (attributes.log_level, attributes.log_size) = (1, LOG_BYTES);
    attributes.log = log.as_mut_ptr();
    // SAFETY: as above; the log is live, and as long as told.
    let _ = unsafe { bpf_fd(BPF_PROG_LOAD, &attributes) };
    Err(OpenError::Verifier {
        log: one_line(&log),
        source,
    })
}

/// The end of the verifier's log as one line.
fn one_line(log: &[u8]) -> String {
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]);
    let lines: Vec<_> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("; ")
}

/// The program on a netdev, and the map that it redirects through. Dropping it takes the program
/// off.
#[derive(Debug)]
pub(super) struct Program {
    sockets: SocketMap,
    /// Why the driver did not take it, when it runs in the stack.
    refusal: Option<io::Error>,
    /// Holds the program as well.
    _link: Link,
}

impl Program {
    /// Loads the program for queues `0..queues` of the netdev and attaches it: in the driver if it
    /// can, else in the stack.
    pub(super) fn attach(
        device: &str,
        ifindex: u32,
        queues: u32,
        multi_buffer: bool,
    ) -> Result<Program, OpenError> {
        let failed = |what| move |source| OpenError::system(device, what, source);
        let sockets = SocketMap::create(queues).map_err(failed("make a map of sockets"))?;
        let program = load(device, &sockets, multi_buffer)?;
        let program = program.as_fd();
        let (link, refusal) = match link(program, ifindex, XDP_FLAGS_DRV_MODE) {
            Ok(link) => (link, None),
            Err(error) if is_final(&error) => return Err(refused(device, error)),
            // No XDP in the driver, or not with these settings.
            Err(refusal) => {
                let link = link(program, ifindex, XDP_FLAGS_SKB_MODE)
                    .map_err(|error| refused(device, error))?;
                (link, Some(refusal))
            }
        };
        Ok(Program {
            sockets,
            refusal,
            _link: link,
        })
    }

    /// Where the program runs.
    pub(super) fn mode(&self) -> Mode {
        match self.refusal {
            None => Mode::Native,
            Some(_) => Mode::Generic,
        }
    }

    /// Why the driver did not take the program, when it runs in the stack.
    pub(super) fn refusal(&self) -> Option<&io::Error> {
        self.refusal.as_ref()
    }

    /// Lets frames of `queue` go to `sockets` by their kind, all of them bound to that queue.
    pub(super) fn insert<'a>(
        &self,
        queue: u32,
        sockets: impl Iterator<Item = BorrowedFd<'a>>,
    ) -> io::Result<()> {
        let first = queue.saturating_mul(Kind::COUNT.into());
        (first..)
            .zip(sockets)
            .try_for_each(|(key, socket)| self.sockets.insert(key, socket))
    }
}

/// True for refusals that the other mode would meet as well.
fn is_final(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBUSY | libc::EEXIST | libc::EPERM | libc::ENODEV)
    )
}

fn refused(device: &str, error: io::Error) -> OpenError {
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => OpenError::Busy(device.to_owned()),
        _ => OpenError::system(device, "attach the XDP program", error),
    }
}

/// What ties a program to a netdev.
#[derive(Debug)]
struct Link(OwnedFd);

impl Drop for Link {
    /// Takes the program off now: closing the descriptor does not while a process that was just
    /// forked off holds a copy.
    fn drop(&mut self) {
        let link = field(self.0.as_fd());
        // SAFETY: the one field of BPF_LINK_DETACH; no pointers. A netdev that is gone has no
        // program either.
        let _ = unsafe { bpf(BPF_LINK_DETACH, &link) };
    }
}

/// Attaches `program` to the netdev for as long as the returned link lives.
fn link(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> io::Result<Link> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        ifindex: u32,
        attach_type: u32,
        flags: u32,
    }
    let attributes = Attributes {
        program: field(program),
        ifindex,
        attach_type: BPF_XDP,
        flags,
    };
    // SAFETY: the fields of BPF_LINK_CREATE; no pointers.
    unsafe { bpf_fd(BPF_LINK_CREATE, &attributes) }.map(Link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_log_becomes_one_line() {
        assert_eq!(one_line(b"0: bad\n1: worse\n\0junk"), "0: bad; 1: worse");
        assert_eq!(one_line(b"0\n1\n2\n3\n"), "1; 2; 3");
        assert_eq!(one_line(&[b'x'; 4]), "xxxx");
    }
}
