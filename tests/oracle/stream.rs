//! A recorded netlink stream: what the kernel dumped before, said meanwhile, and dumped after. One
//! line of JSON a message; `tests/data/netlink/README.md` describes the files.

use ixmap::control::mirror::{Changes, Doubt, Event, Mirror};
use ixmap::control::netlink::{Message, decode};
use serde::{Deserialize, Serialize};

/// One line of a file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line {
    /// Part of the dump before.
    Before(Raw),
    /// What `ip` was told.
    Command(String),
    /// A message of the multicast groups.
    Event(Raw),
    /// Part of the dump after.
    After(Raw),
}

/// A netlink message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Raw {
    /// Microseconds since the recording began.
    pub(crate) at: u64,
    /// RTM_*.
    pub(crate) kind: u16,
    /// NLM_F_*.
    pub(crate) flags: u16,
    /// What follows struct nlmsghdr, in hexadecimal, in the recording machine's byte order.
    pub(crate) payload: String,
}

impl Raw {
    fn event(&self) -> Option<Event> {
        let bytes = (0..self.payload.len()).step_by(2);
        let payload: Vec<u8> = bytes
            .map(|at| u8::from_str_radix(&self.payload[at..at + 2], 16).unwrap())
            .collect();
        decode(&Message {
            kind: self.kind,
            flags: self.flags,
            sequence: 0,
            payload: &payload,
        })
    }
}

/// What became of a stream.
pub(crate) struct Replayed {
    /// The dump before, followed by the events.
    pub(crate) mirror: Mirror,
    /// Why the kernel would have been asked again.
    pub(crate) doubts: Vec<Doubt>,
    /// The dump after.
    pub(crate) kernel: Mirror,
    pub(crate) events: usize,
}

/// Follows a stream.
pub(crate) fn replay(lines: &[Line]) -> Replayed {
    let mut replayed = Replayed {
        mirror: Mirror::default(),
        doubts: Vec::new(),
        kernel: Mirror::default(),
        events: 0,
    };
    for line in lines {
        match line {
            Line::Before(raw) => raw
                .event()
                .into_iter()
                .for_each(|event| replayed.mirror.load(event)),
            Line::After(raw) => raw
                .event()
                .into_iter()
                .for_each(|event| replayed.kernel.load(event)),
            Line::Command(_) => {}
            Line::Event(raw) => {
                replayed.events += 1;
                let event = raw.event();
                let doubts =
                    event.and_then(|event| replayed.mirror.apply(event, &mut Changes::default()));
                replayed.doubts.extend(doubts);
            }
        }
    }
    replayed
}
