//! The XDP program of a port, and the map of sockets that it redirects to.
//!
//! Five instructions: look up the receive queue's socket in the XSKMAP and redirect the frame there;
//! without a socket, drop it. It never passes a frame to the kernel's stack: the kernel sees what it
//! is meant to see on the port's TAP. The program hangs on a BPF link, which the kernel dissolves at
//! the latest when the last descriptor is closed: it cannot outlive the process.

#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::ffi::c_long;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::{fmt, io};

use super::error::OpenError;

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
const BPF_FUNC_REDIRECT_MAP: i32 = 51;
const XDP_DROP: i32 = 1;

/// Bytes of verifier log that an error may carry.
const LOG_BYTES: u32 = 4096;
const LOG_SIZE: usize = LOG_BYTES as usize;
const PROGRAM_LEN: u32 = 6;

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

/// One instruction of the BPF machine (linux/bpf.h, `struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    /// Destination register in the low nibble, source in the high one.
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    const fn new(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Instruction {
        Instruction {
            code,
            registers: src << 4 | dst,
            offset,
            immediate,
        }
    }
}

/// `return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP);`
fn program(map: RawFd) -> [Instruction; PROGRAM_LEN as usize] {
    const LDX_MEM_W: u8 = 0x61;
    const LD_IMM_DW: u8 = 0x18;
    const PSEUDO_MAP_FD: u8 = 1;
    const MOV64_K: u8 = 0xb7;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    /// offsetof(struct xdp_md, rx_queue_index)
    const RX_QUEUE_INDEX: i16 = 16;
    [
        Instruction::new(LDX_MEM_W, 2, 1, RX_QUEUE_INDEX, 0),
        Instruction::new(LD_IMM_DW, 1, PSEUDO_MAP_FD, 0, map),
        Instruction::new(0, 0, 0, 0, 0),
        Instruction::new(MOV64_K, 3, 0, 0, XDP_DROP),
        Instruction::new(CALL, 0, 0, 0, BPF_FUNC_REDIRECT_MAP),
        Instruction::new(EXIT, 0, 0, 0, 0),
    ]
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

/// The map from receive queue to AF_XDP socket.
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
            max_entries: queues,
            map_flags: 0,
            inner_map_fd: 0,
            numa_node: 0,
            name: NAME,
        };
        // SAFETY: the fields of BPF_MAP_CREATE up to map_name; no pointers.
        unsafe { bpf_fd(BPF_MAP_CREATE, &attributes) }.map(SocketMap)
    }

    /// Lets frames of `queue` go to `socket`, which must be bound to that queue.
    fn insert(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
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
            key: &raw const queue,
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
    let program = program(sockets.0.as_raw_fd());
    let mut log = [0u8; LOG_SIZE];
    let attributes = Attributes {
        prog_type: BPF_PROG_TYPE_XDP,
        instruction_count: PROGRAM_LEN,
        instructions: program.as_ptr(),
        license: c"Dual MIT/GPL".as_ptr().cast(),
        log_level: 1,
        log_size: LOG_BYTES,
        log: log.as_mut_ptr(),
        kernel_version: 0,
        flags: if multi_buffer { BPF_F_XDP_HAS_FRAGS } else { 0 },
        name: NAME,
        ifindex: 0,
        expected_attach_type: BPF_XDP,
    };
    // SAFETY: the fields of BPF_PROG_LOAD up to expected_attach_type, without padding; program,
    // licence and log are live, with the lengths told.
    let loaded = unsafe { bpf_fd(BPF_PROG_LOAD, &attributes) };
    loaded.map_err(|source| match source.raw_os_error() {
        Some(libc::EPERM) => OpenError::system(device, "load the XDP program", source),
        _ => OpenError::Verifier {
            log: one_line(&log),
            source,
        },
    })
}

/// The verifier's log as one line.
fn one_line(log: &[u8]) -> String {
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]);
    text.trim().replace('\n', "; ")
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

    /// Lets frames of `queue` go to `socket`, which must be bound to that queue.
    pub(super) fn insert(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.sockets.insert(queue, socket)
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
    fn the_program_redirects_by_queue_and_drops_what_has_no_socket() {
        // As `bpftool prog dump xlated` prints it: ctx is r1, the queue goes to r2, the map to r1,
        // the fallback to r3.
        let codes: Vec<_> = program(7)
            .iter()
            .map(|i| (i.code, i.registers, i.offset, i.immediate))
            .collect();
        assert_eq!(
            codes,
            [
                (0x61, 0x12, 16, 0),
                (0x18, 0x11, 0, 7),
                (0, 0, 0, 0),
                (0xb7, 0x03, 0, 1),
                (0x85, 0, 0, 51),
                (0x95, 0, 0, 0),
            ]
        );
        assert_eq!(size_of::<Instruction>(), 8);
    }

    #[test]
    fn a_verifier_log_becomes_one_line() {
        assert_eq!(one_line(b"0: bad\n1: worse\n\0junk"), "0: bad; 1: worse");
        assert_eq!(one_line(&[b'x'; 4]), "xxxx");
    }
}
