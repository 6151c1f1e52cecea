//! The kernel's whole state, asked for on a socket of its own.
//!
//! Dumps block, so they run on a blocking thread: a million routes take the kernel most of a second,
//! and the event socket is drained meanwhile. Links come first: the kernel answers that under the
//! lock that a link's change holds, so the routes that follow are mostly past the flush.

use std::collections::BTreeMap;
use std::io;
use std::panic;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use netlink_packet_core::{
    Emitable, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkHeader,
    parse_i32,
};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::NetlinkError;
use super::decode::decode;
use super::expiry::silent_change;
use super::message::{Message, Messages};
use super::nexthop::RTM_GETNEXTHOP;
use super::socket::{self, Datagram};
use crate::control::mirror::{Event, Mirror, Part};

/// Tries of a table while the kernel says that it changed underfoot; the last of them is kept.
const TRIES: u32 = 5;
/// The kernel answers within microseconds; a silence this long is a fault.
const SILENCE: Duration = Duration::from_secs(10);
/// Answers are produced as they are read: the queue never holds more than a few datagrams.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Datagrams of at most 32 KiB that wait to be understood.
const QUEUE: usize = 64;

/// One kind of table: what to call it, the request, and the length of its header.
struct Table {
    name: &'static str,
    part: Part,
    request: u16,
    family: libc::c_int,
    header: usize,
}

impl Table {
    /// The kernel finds its place again by an entry's key, not by how many it has shown: an entry
    /// that stays is shown once whatever happens around it, and of the others the events tell.
    fn goes_on_by_key(&self) -> bool {
        self.request == RTM_GETNEXTHOP
    }

    /// A kernel may be built without rules, or run without IPv6, and says so by this error.
    fn is_optional(&self, error: &io::Error) -> bool {
        let errno = error.raw_os_error();
        self.request == libc::RTM_GETRULE
            && matches!(errno, Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP))
    }
}

/// Next-hop objects go before the routes that go through them.
const TABLES: [Table; 11] = [
    Table {
        name: "links",
        part: Part::Links,
        request: libc::RTM_GETLINK,
        family: libc::AF_UNSPEC,
        header: 16,
    },
    Table {
        name: "addresses",
        part: Part::Addresses,
        request: libc::RTM_GETADDR,
        family: libc::AF_UNSPEC,
        header: 8,
    },
    Table {
        name: "next-hop objects",
        part: Part::NextHops,
        request: RTM_GETNEXTHOP,
        family: libc::AF_UNSPEC,
        header: 8,
    },
    Table {
        name: "IPv4 routes",
        part: Part::Routes { ipv6: false },
        request: libc::RTM_GETROUTE,
        family: libc::AF_INET,
        header: 12,
    },
    Table {
        name: "IPv6 routes",
        part: Part::Routes { ipv6: true },
        request: libc::RTM_GETROUTE,
        family: libc::AF_INET6,
        header: 12,
    },
    Table {
        name: "IPv4 neighbours",
        part: Part::Neighbours { ipv6: false },
        request: libc::RTM_GETNEIGH,
        family: libc::AF_INET,
        header: 12,
    },
    Table {
        name: "IPv6 neighbours",
        part: Part::Neighbours { ipv6: true },
        request: libc::RTM_GETNEIGH,
        family: libc::AF_INET6,
        header: 12,
    },
    Table {
        name: "IPv4 rules",
        part: Part::Rules { ipv6: false },
        request: libc::RTM_GETRULE,
        family: libc::AF_INET,
        header: 12,
    },
    Table {
        name: "IPv6 rules",
        part: Part::Rules { ipv6: true },
        request: libc::RTM_GETRULE,
        family: libc::AF_INET6,
        header: 12,
    },
    Table {
        name: "IPv4 settings",
        part: Part::Netconf { ipv6: false },
        request: libc::RTM_GETNETCONF,
        family: libc::AF_INET,
        header: 4,
    },
    Table {
        name: "IPv6 settings",
        part: Part::Netconf { ipv6: true },
        request: libc::RTM_GETNETCONF,
        family: libc::AF_INET6,
        header: 4,
    },
];

/// The kernel's state as it was dumped. Events that came meanwhile are to be replayed over it.
pub struct Dump {
    pub mirror: Mirror,
    /// A table that changed during every try, so that entries may be missing which no event names.
    pub torn: Option<&'static str>,
    /// Entries that made no sense, and are left out.
    pub unread: u64,
}

/// How one try of a dump ended.
enum Answer {
    Complete,
    Interrupted,
}

/// The socket that dumps are read from, with its buffers.
pub struct Dumper {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Dumper {
    /// Opens the socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The socket cannot be opened.
    pub fn open() -> Result<Dumper, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(NetlinkError::Open)?;
        socket::prepare(&mut socket, RECEIVE_BUFFER).map_err(NetlinkError::Open)?;
        socket
            .set_netlink_get_strict_chk(true)
            .map_err(NetlinkError::Open)?;
        let silence = TimeVal::seconds(i64::try_from(SILENCE.as_secs()).unwrap_or(i64::MAX));
        setsockopt(&socket, sockopt::ReceiveTimeout, &silence)
            .map_err(|error| NetlinkError::Open(error.into()))?;
        Ok(Dumper {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(socket::DATAGRAM),
        })
    }

    /// Reads every table into a fresh mirror. Blocks. The kernel writes its routes out as they are
    /// read, which takes it as long as understanding them takes here: two threads share the work.
    ///
    /// # Errors
    /// The kernel refused, was silent, or made no sense.
    pub fn dump(&mut self) -> Result<Dump, NetlinkError> {
        thread::scope(|scope| {
            let (steps, received) = mpsc::sync_channel(QUEUE);
            let builder = scope.spawn(move || build(received));
            let read = TABLES.iter().try_fold(None, |torn, table| {
                let whole = self.read_whole(table, &steps)?;
                Ok(torn.or((!whole).then_some(table.name)))
            });
            drop(steps);
            let built = builder.join();
            let torn = read?;
            let (mirror, unread) = built.unwrap_or_else(|cause| panic::resume_unwind(cause))?;
            Ok(Dump {
                mirror,
                torn,
                unread,
            })
        })
    }

    /// Reads a table until the kernel says that it did not change meanwhile, or until that does not
    /// matter, or never comes: false then.
    fn read_whole(
        &mut self,
        table: &'static Table,
        steps: &SyncSender<Step>,
    ) -> Result<bool, NetlinkError> {
        for _ in 1..TRIES {
            match self.read(table, steps)? {
                Answer::Complete => return Ok(true),
                Answer::Interrupted if table.goes_on_by_key() => return Ok(true),
                Answer::Interrupted => tell(steps, Step::Forget(table)),
            }
        }
        Ok(matches!(self.read(table, steps)?, Answer::Complete))
    }

    fn read(
        &mut self,
        table: &'static Table,
        steps: &SyncSender<Step>,
    ) -> Result<Answer, NetlinkError> {
        let failed = |source| NetlinkError::Dump {
            what: table.name,
            source,
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.socket
            .send(&request(table, self.sequence), 0)
            .map_err(failed)?;
        let mut interrupted = false;
        loop {
            match socket::receive(&self.socket, &mut self.buffer) {
                Ok(Datagram::Whole) => {}
                Ok(Datagram::Foreign) => continue,
                Ok(Datagram::Cut) => return Err(failed(io::ErrorKind::InvalidData.into())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            }
            let mut ended = None;
            for message in Messages::new(&self.buffer) {
                let message = message.map_err(|error| malformed(table, &error))?;
                // What an earlier, failed dump left behind.
                if message.sequence != self.sequence {
                    continue;
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                if matches!(message.kind, NLMSG_DONE | NLMSG_ERROR) {
                    ended = Some(status(&message));
                    break;
                }
            }
            let datagram = self.buffer.clone();
            let sequence = self.sequence;
            tell(
                steps,
                Step::Load {
                    table,
                    sequence,
                    datagram,
                },
            );
            match ended {
                None => continue,
                Some(Err(error)) if table.is_optional(&error) => {
                    tell(
                        steps,
                        Step::RulesAbsent {
                            ipv6: table.family == libc::AF_INET6,
                        },
                    );
                }
                Some(status) => status.map_err(failed)?,
            }
            return Ok(if interrupted {
                Answer::Interrupted
            } else {
                Answer::Complete
            });
        }
    }
}

/// What the reading thread has for the one that builds the mirror.
enum Step {
    /// A datagram, of which messages with this sequence number count.
    Load {
        table: &'static Table,
        sequence: u32,
        datagram: Vec<u8>,
    },
    RulesAbsent {
        ipv6: bool,
    },
    /// What was loaded of it was not of one moment.
    Forget(&'static Table),
}

/// Waits for room in the queue. A builder that is gone has failed, which its end will tell.
fn tell(steps: &SyncSender<Step>, step: Step) {
    let _ = steps.send(step);
}

/// The mirror, and how many entries it lacks.
fn build(steps: Receiver<Step>) -> Result<(Mirror, u64), NetlinkError> {
    let mut mirror = Mirror::blank();
    let mut unread = Unread::new();
    for step in steps {
        match step {
            Step::Load {
                table,
                sequence,
                datagram,
            } => load(&mut mirror, table, sequence, &datagram, &mut unread)?,
            Step::RulesAbsent { ipv6 } => mirror.load(Event::RulesAbsent { ipv6 }),
            Step::Forget(table) => {
                mirror.forget(table.part);
                unread.remove(table.name);
            }
        }
    }
    for (name, (count, why)) in &unread {
        tracing::warn!("{count} of the kernel's {name} are left out, the first because: {why}");
    }
    let left_out = unread.values().map(|(count, _)| count).sum();
    Ok((mirror, left_out))
}

/// Entries that are decoded, and then loaded, at once: few enough to stay in the nearest cache meanwhile.
const BATCH: usize = 32;

/// Entries that made no sense, by the table's name: how many, and why the first did not.
type Unread = BTreeMap<&'static str, (u64, String)>;

fn load(
    mirror: &mut Mirror,
    table: &Table,
    sequence: u32,
    datagram: &[u8],
    unread: &mut Unread,
) -> Result<(), NetlinkError> {
    let mut events = Vec::new();
    for message in Messages::new(datagram) {
        let message = message.map_err(|error| malformed(table, &error))?;
        if message.sequence != sequence {
            continue;
        }
        if matches!(message.kind, NLMSG_DONE | NLMSG_ERROR) {
            break;
        }
        let event = decode(&message);
        let silent = silent_change(&message, event.as_ref());
        match event {
            // Better one entry unknown than all: a new dump would say the same.
            Some(Event::Doubt { why }) => unread.entry(table.name).or_insert((0, why)).0 += 1,
            Some(event) => events.push(event),
            None => {}
        }
        events.extend(silent);
        if events.len() >= BATCH {
            load_all(mirror, &mut events);
        }
    }
    load_all(mirror, &mut events);
    Ok(())
}

fn load_all(mirror: &mut Mirror, events: &mut Vec<Event>) {
    mirror.warm(events);
    events.drain(..).for_each(|event| mirror.load(event));
}

/// Reads the kernel's whole state once. Blocks.
///
/// # Errors
/// As [`Dumper::open`] and [`Dumper::dump`].
pub fn dump() -> Result<Mirror, NetlinkError> {
    Ok(Dumper::open()?.dump()?.mirror)
}

/// A dump request with a strict, all-zero header: everything of the family.
fn request(table: &Table, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    let length = header.buffer_len() + table.header;
    header.length = u32::try_from(length).unwrap_or(u32::MAX);
    header.message_type = table.request;
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = sequence;
    let mut bytes = vec![0; length];
    header.emit(&mut bytes);
    bytes[header.buffer_len()] = u8::try_from(table.family).unwrap_or_default();
    bytes
}

fn malformed(table: &Table, error: &impl ToString) -> NetlinkError {
    NetlinkError::Malformed {
        what: table.name,
        why: error.to_string(),
    }
}

/// NLMSG_DONE and NLMSG_ERROR begin with a negative errno, or zero.
pub(super) fn status(message: &Message<'_>) -> io::Result<()> {
    match message.payload.get(..4).map(parse_i32) {
        Some(Ok(0)) | None => Ok(()),
        Some(Ok(errno)) => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
        Some(Err(_)) => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RTM_NEWROUTE for 192.0.2.0/24, which it names or forgets to name.
    fn route(named: bool) -> Vec<u8> {
        let attribute = [8, 0, 1, 0, 192, 0, 2, 0];
        let attributes = &attribute[..if named { 8 } else { 0 }];
        let length = u32::try_from(16 + 12 + attributes.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(libc::RTM_NEWROUTE.to_ne_bytes());
        bytes.extend([0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        // Table main, static, to everywhere, a blackhole.
        bytes.extend([2, 24, 0, 0, 254, 4, 0, 6, 0, 0, 0, 0]);
        bytes.extend(attributes);
        bytes
    }

    #[test]
    fn entries_that_make_no_sense_are_counted_and_the_others_used() {
        let (steps, received) = mpsc::sync_channel(8);
        let ipv4 = TABLES.iter().find(|table| table.name == "IPv4 routes");
        let table = ipv4.unwrap();
        let load = |datagram| Step::Load {
            table,
            sequence: 7,
            datagram,
        };
        // A try that is repeated counts for nothing.
        steps.send(load(route(false))).unwrap();
        steps.send(Step::Forget(table)).unwrap();
        let datagram = [route(false), route(true), route(false)].concat();
        steps.send(load(datagram)).unwrap();
        drop(steps);
        let (mirror, unread) = build(received).unwrap();
        assert_eq!((mirror.route_count(), unread), (1, 2));
    }
}
