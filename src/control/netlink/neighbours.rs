//! Asking the kernel to look after neighbours, and how full its tables are, on a socket of its own.
//!
//! The kernel works on a request while it is sent, and may wait for its locks: so all of this blocks,
//! and belongs on a blocking thread.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    Emitable, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkHeader,
    parse_u32, parse_u64,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourHeader, NeighbourMessage,
};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::NetlinkError;
use super::attributes::attributes;
use super::dump;
use super::message::{Message, Messages};
use super::socket::{self, Datagram};

/// Room for an error to every request of a round (about 1 KiB each in the kernel's account).
const RECEIVE_BUFFER: usize = 2 << 20;
/// Bytes of requests in one system call.
const CHUNK: usize = 16 << 10;
/// The kernel answers within microseconds; a silence this long is a fault.
const SILENCE: i64 = 10;

const RTM_NEWNEIGHTBL: u16 = 64;
const RTM_GETNEIGHTBL: u16 = 66;
const NEIGHBOUR_TABLE_HEADER: usize = 4;
const NDTA_THRESH3: u16 = 4;
const NDTA_CONFIG: u16 = 5;
const NDTA_STATS: u16 = 7;
/// Offset of ndtc_entries in struct ndt_config.
const CONFIG_ENTRIES: usize = 4;
/// Offset of ndts_table_fulls in struct ndt_stats.
const STATS_TABLE_FULLS: usize = 80;

/// Has the kernel use a neighbour as if a packet had been sent to it (NTF_USE): what is STALE is
/// probed, what is not resolved is.
///
/// The kernel takes PERMANENT away from an entry that is asked about, and resolves it anew: never
/// ask about those.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NeighbourRequest {
    pub ifindex: u32,
    pub address: IpAddr,
    /// NTF_EXT_MANAGED from here on: the kernel keeps it resolved by itself. Kernels before 5.16
    /// know no such flag and just use the neighbour.
    pub managed: bool,
    /// NTF_EXT_LEARNED from here on.
    pub learned: bool,
    /// Make the entry if there is none.
    pub create: bool,
}

/// One of the kernel's neighbour tables, shared by all network namespaces of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NeighbourTable {
    pub entries: u32,
    /// gc_thresh3: the most entries, those not counted that are permanent or learned.
    pub limit: u32,
    /// Times that an entry found no room.
    pub full: u64,
}

/// What came of a round.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NeighbourRound {
    /// Requests that the kernel refused; not those about neighbours that had just gone.
    pub refused: u64,
    /// IPv4's and IPv6's.
    pub tables: [Option<NeighbourTable>; 2],
}

/// The socket that requests are sent on.
pub struct NeighbourSocket {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl NeighbourSocket {
    /// Opens the socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The socket cannot be opened.
    pub fn open() -> Result<NeighbourSocket, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(NetlinkError::Open)?;
        socket::prepare(&mut socket, RECEIVE_BUFFER).map_err(NetlinkError::Open)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(SILENCE))
            .map_err(|error| NetlinkError::Open(error.into()))?;
        Ok(NeighbourSocket {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(socket::DATAGRAM),
        })
    }

    /// Sends the requests, then asks for the tables. Blocks.
    ///
    /// # Errors
    /// The socket is broken, or the kernel silent.
    pub fn round(&mut self, requests: &[NeighbourRequest]) -> io::Result<NeighbourRound> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut chunk = Vec::with_capacity(CHUNK);
        for request in requests {
            chunk.extend(encode(request, self.sequence));
            if chunk.len() + CHUNK / 16 > CHUNK {
                self.socket.send(&chunk, 0)?;
                chunk.clear();
            }
        }
        if !chunk.is_empty() {
            self.socket.send(&chunk, 0)?;
        }
        // Its answer comes after every error of the requests.
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&table_request(self.sequence), 0)?;
        let mut round = NeighbourRound::default();
        while !self.read(&mut round)? {}
        Ok(round)
    }

    /// Reads a datagram; true when the answer is complete.
    fn read(&mut self, round: &mut NeighbourRound) -> io::Result<bool> {
        match socket::receive(&self.socket, &mut self.buffer) {
            Ok(Datagram::Whole) => {}
            Ok(Datagram::Foreign) => return Ok(false),
            Ok(Datagram::Cut) => return Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error),
        }
        for message in Messages::new(&self.buffer) {
            let message = message.map_err(|_| io::ErrorKind::InvalidData)?;
            match message.kind {
                _ if message.sequence == self.sequence.wrapping_sub(1) => {
                    round.refused += u64::from(is_refusal(&message));
                }
                // What an earlier, failed round left behind.
                _ if message.sequence != self.sequence => {}
                NLMSG_DONE | NLMSG_ERROR => {
                    dump::status(&message)?;
                    return Ok(true);
                }
                RTM_NEWNEIGHTBL => note_table(&message, round),
                _ => {}
            }
        }
        Ok(false)
    }
}

/// An error, unless the neighbour or its interface had just gone.
fn is_refusal(message: &Message<'_>) -> bool {
    let gone = [Some(libc::ENOENT), Some(libc::ENODEV)];
    message.kind == NLMSG_ERROR
        && dump::status(message).is_err_and(|error| !gone.contains(&error.raw_os_error()))
}

/// Takes in a table. The kernel describes each in a message with its limits, and again in one for
/// every interface, without.
fn note_table(message: &Message<'_>, round: &mut NeighbourRound) {
    let slot = match message.payload.first().copied().map(AddressFamily::from) {
        Some(AddressFamily::Inet) => 0,
        Some(AddressFamily::Inet6) => 1,
        _ => return,
    };
    let (mut entries, mut limit, mut full) = (None, None, 0);
    for attribute in attributes(message.payload, NEIGHBOUR_TABLE_HEADER).flatten() {
        let value = attribute.value();
        match attribute.kind() {
            NDTA_THRESH3 => limit = parse_u32(value).ok(),
            NDTA_CONFIG => {
                let bytes = value.get(CONFIG_ENTRIES..CONFIG_ENTRIES + 4);
                entries = bytes.and_then(|bytes| parse_u32(bytes).ok());
            }
            NDTA_STATS => {
                let bytes = value.get(STATS_TABLE_FULLS..STATS_TABLE_FULLS + 8);
                full = bytes
                    .and_then(|bytes| parse_u64(bytes).ok())
                    .unwrap_or_default();
            }
            _ => {}
        }
    }
    if let (Some(entries), Some(limit)) = (entries, limit) {
        round.tables[slot] = Some(NeighbourTable {
            entries,
            limit,
            full,
        });
    }
}

fn encode(request: &NeighbourRequest, sequence: u32) -> Vec<u8> {
    let mut message = NeighbourMessage::default();
    message.header = NeighbourHeader {
        family: match request.address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        },
        ifindex: request.ifindex,
        flags: match request.learned {
            true => NeighbourFlags::Use | NeighbourFlags::ExtLearned,
            false => NeighbourFlags::Use,
        },
        ..NeighbourHeader::default()
    };
    let address = NeighbourAttribute::Destination(request.address.into());
    message.attributes.push(address);
    if request.managed {
        let managed = NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed);
        message.attributes.push(managed);
    }
    let create = if request.create { NLM_F_CREATE } else { 0 };
    let mut bytes = header(libc::RTM_NEWNEIGH, create, sequence, message.buffer_len());
    let start = bytes.len() - message.buffer_len();
    message.emit(&mut bytes[start..]);
    bytes
}

/// Asks for every table.
fn table_request(sequence: u32) -> Vec<u8> {
    header(
        RTM_GETNEIGHTBL,
        NLM_F_DUMP,
        sequence,
        NEIGHBOUR_TABLE_HEADER,
    )
}

/// A netlink header with room for its payload, all zeroes; the payload's length is a multiple of 4.
fn header(kind: u16, flags: u16, sequence: u32, payload: usize) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    let length = header.buffer_len() + payload;
    header.length = u32::try_from(length).unwrap_or(u32::MAX);
    header.message_type = kind;
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    let mut bytes = vec![0; length];
    header.emit(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_the_kernel_reads() {
        let request = NeighbourRequest {
            ifindex: 5,
            address: "10.0.0.9".parse().unwrap(),
            managed: true,
            learned: false,
            create: true,
        };
        let mut expected = vec![44, 0, 0, 0, 28, 0, 1, 4, 7, 0, 0, 0, 0, 0, 0, 0];
        // struct ndmsg: family, ifindex, no state, NTF_USE.
        expected.extend([2, 0, 0, 0, 5, 0, 0, 0, 0, 0, 1, 0]);
        expected.extend([8, 0, 1, 0, 10, 0, 0, 9]);
        // NDA_FLAGS_EXT: NTF_EXT_MANAGED.
        expected.extend([8, 0, 15, 0, 1, 0, 0, 0]);
        assert_eq!(encode(&request, 7), expected);
        let plain = NeighbourRequest {
            managed: false,
            learned: true,
            create: false,
            ..request
        };
        let bytes = encode(&plain, 7);
        assert_eq!((bytes.len(), bytes[0]), (36, 36));
        assert_eq!(bytes[6..8], [1, 0], "no NLM_F_CREATE");
        assert_eq!(bytes[26], 0x11, "NTF_USE | NTF_EXT_LEARNED");
    }

    #[test]
    fn only_the_message_with_limits_describes_a_table() {
        let attribute = |kind: u16, value: &[u8]| {
            let length = u16::try_from(4 + value.len()).unwrap();
            [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat()
        };
        let mut config = vec![0; 32];
        config[4..8].copy_from_slice(&700u32.to_ne_bytes());
        let mut stats = vec![0; 88];
        stats[80..88].copy_from_slice(&3u64.to_ne_bytes());
        let limits = attribute(NDTA_THRESH3, &1024u32.to_ne_bytes());
        let (config, stats) = (
            attribute(NDTA_CONFIG, &config),
            attribute(NDTA_STATS, &stats),
        );
        let mut round = NeighbourRound::default();
        let mut note = |family: u8, attributes: &[Vec<u8>]| {
            let payload = [vec![family, 0, 0, 0], attributes.concat()].concat();
            let message = Message {
                kind: RTM_NEWNEIGHTBL,
                flags: 0,
                sequence: 0,
                payload: &payload,
            };
            note_table(&message, &mut round);
        };
        note(10, &[limits, config, stats]);
        note(10, &[attribute(6, &[0; 8])]);
        note(2, &[attribute(NDTA_THRESH3, &[1])]);
        note(12, &[]);
        let table = NeighbourTable {
            entries: 700,
            limit: 1024,
            full: 3,
        };
        assert_eq!(round.tables, [None, Some(table)]);
    }
}
