//! A flood of one frame at the most that the machine gives: the kernel itself runs a small XDP program
//! over a pool of pages and sends each by a veth's end (BPF_PROG_TEST_RUN with live frames). That takes
//! none of the stack's time, and an XDP program on the other end.

#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::net::if_::if_nametoindex;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::namespace::Namespace;

const BPF_PROG_LOAD: u32 = 5;
const BPF_PROG_TEST_RUN: u32 = 10;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;
/// `struct bpf_insn`: opcode, source and destination register, offset, immediate.
#[repr(C)]
struct Instruction(u8, u8, i16, i32);

/// Counts up the byte at this offset, if any, and sends the frame: `return bpf_redirect(link, 0)`.
fn program(link: i32, count: Option<i16>) -> Vec<Instruction> {
    const LDX_W: u8 = 0x61;
    const LDX_B: u8 = 0x71;
    const STX_B: u8 = 0x73;
    const MOV: u8 = 0xb7;
    const MOV_X: u8 = 0xbf;
    const ADD: u8 = 0x07;
    const JGT_X: u8 = 0x2d;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const BPF_FUNC_REDIRECT: i32 = 23;
    // r2 = data, r3 = data_end, r4 = the byte's end; unless r4 > r3: r5 = the byte, + 1, and back.
    let counting = count.map(|at| {
        [
            Instruction(LDX_W, 0x12, 0, 0),
            Instruction(LDX_W, 0x13, 4, 0),
            Instruction(MOV_X, 0x24, 0, 0),
            Instruction(ADD, 0x04, 0, i32::from(at) + 1),
            Instruction(JGT_X, 0x34, 3, 0),
            Instruction(LDX_B, 0x25, at, 0),
            Instruction(ADD, 0x05, 0, 1),
            Instruction(STX_B, 0x52, at, 0),
        ]
    });
    let sending = [
        Instruction(MOV, 0x01, 0, link),
        Instruction(MOV, 0x02, 0, 0),
        Instruction(CALL, 0, 0, BPF_FUNC_REDIRECT),
        Instruction(EXIT, 0, 0, 0),
    ];
    counting.into_iter().flatten().chain(sending).collect()
}

/// Floods a link of a namespace, whose other end must have a native XDP program.
pub struct Flood {
    program: OwnedFd,
}

impl Flood {
    /// Prepares a flood by `link`. With `count` the frames differ in the byte at this offset.
    pub fn new(namespace: &Namespace, link: &str, count: Option<i16>) -> Result<Flood> {
        let index =
            namespace.enter(|| if_nametoindex(link).map_err(Error::io(format!("find {link}"))))?;
        let link = i32::try_from(index).map_err(|_| Error::Parse {
            what: "an interface index",
            text: index.to_string(),
        })?;
        let program = load(&program(link, count)).map_err(Error::io("load the flood's program"))?;
        Ok(Flood { program })
    }

    /// Sends copies of `frame` for as long, from the first core, as many at once as `burst` says, with
    /// some milliseconds in between; returns how many were sent. Some may have found no room.
    pub fn send(
        &self,
        namespace: &Namespace,
        frame: &[u8],
        burst: u32,
        time: Duration,
    ) -> Result<u64> {
        namespace.enter(|| {
            let mut first = CpuSet::new();
            first
                .set(0)
                .and_then(|()| sched_setaffinity(Pid::from_raw(0), &first))
                .map_err(Error::io("pin the flood"))?;
            let (start, mut sent) = (Instant::now(), 0);
            while start.elapsed() < time {
                run(&self.program, frame, burst).map_err(Error::io("send a flood"))?;
                sent += u64::from(burst);
            }
            Ok(sent)
        })
    }
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        instructions: u32,
        first: *const Instruction,
        license: *const u8,
    }
    let mut attributes = Attributes {
        kind: BPF_PROG_TYPE_XDP,
        instructions: u32::try_from(program.len()).map_err(io::Error::other)?,
        first: program.as_ptr(),
        license: c"GPL".as_ptr().cast(),
    };
    // SAFETY: the fields of BPF_PROG_LOAD up to the license, on a 64-bit machine; both pointers are
    // live.
    let result = unsafe { bpf(BPF_PROG_LOAD, &mut attributes)? };
    let descriptor = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn run(program: &OwnedFd, frame: &[u8], repeat: u32) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        answer: u32,
        data_len: u32,
        out_len: u32,
        data: *const u8,
        out: u64,
        repeat: u32,
        duration: u32,
        context_lens: u64,
        contexts: [u64; 2],
        flags: u32,
        cpu: u32,
        batch: u32,
        padding: u32,
    }
    let mut attributes = Attributes {
        program: program.as_raw_fd().unsigned_abs(),
        answer: 0,
        data_len: u32::try_from(frame.len()).map_err(io::Error::other)?,
        out_len: 0,
        data: frame.as_ptr(),
        out: 0,
        repeat,
        duration: 0,
        context_lens: 0,
        contexts: [0; 2],
        flags: BPF_F_TEST_XDP_LIVE_FRAMES,
        cpu: 0,
        batch: 64,
        padding: 0,
    };
    // SAFETY: the fields of BPF_PROG_TEST_RUN on a 64-bit machine; the kernel reads the frame, and
    // returns nothing but the answer and its like, as the lengths of what it could write are 0.
    unsafe { bpf(BPF_PROG_TEST_RUN, &mut attributes) }.map(drop)
}

/// Calls bpf(2).
///
/// # Safety
/// `A` must be the prefix of `union bpf_attr` that `command` takes, without implicit padding, and its
/// pointers must be good for what the command does with them.
unsafe fn bpf<A>(command: u32, attributes: &mut A) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and answers within a live value; the rest is the caller's promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<A>(),
        )
    };
    match result {
        ..0 => Err(io::Error::last_os_error()),
        _ => Ok(result),
    }
}
