//! Netlink framing: one datagram holds many messages, each a 16-byte header and a payload.

use netlink_packet_core::{DecodeError, NLMSG_ALIGNTO, NetlinkBuffer};

/// One message of a datagram (struct nlmsghdr and what follows).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// RTM_* or NLMSG_*.
    pub kind: u16,
    /// NLM_F_*.
    pub flags: u16,
    /// The request that it answers; 0 for events.
    pub sequence: u32,
    pub payload: &'a [u8],
}

/// The messages of one datagram in order; ends after the first that does not fit.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Messages of `datagram`.
    pub fn new(datagram: &'a [u8]) -> Messages<'a> {
        Messages { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let buffer = match NetlinkBuffer::new_checked(self.rest) {
            Ok(buffer) => buffer,
            Err(error) => {
                self.rest = &[];
                return Some(Err(error));
            }
        };
        let message = Message {
            kind: buffer.message_type(),
            flags: buffer.flags(),
            sequence: buffer.sequence_number(),
            payload: buffer.payload(),
        };
        let length = usize::try_from(buffer.length()).unwrap_or(usize::MAX);
        let aligned = length.saturating_add(usize::from(NLMSG_ALIGNTO) - 1)
            & !(usize::from(NLMSG_ALIGNTO) - 1);
        self.rest = self.rest.get(aligned..).unwrap_or(&[]);
        Some(Ok(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_datagram_of_two_messages_yields_both() {
        let mut bytes = message(24, &[1, 2, 3]);
        bytes.extend(message(25, &[4]));
        let kinds: Vec<_> = Messages::new(&bytes)
            .map(|message| {
                message
                    .map(|message| (message.kind, message.payload.to_vec()))
                    .unwrap()
            })
            .collect();
        assert_eq!(kinds, [(24, vec![1, 2, 3]), (25, vec![4])]);
    }

    #[test]
    fn a_truncated_message_is_one_error_and_the_end() {
        let mut bytes = message(24, &[1, 2, 3, 4]);
        bytes.extend(&message(25, &[0; 40])[..30]);
        let results: Vec<_> = Messages::new(&bytes).collect();
        assert_eq!(results.len(), 2);
        assert!(results[0].is_ok() && results[1].is_err());
    }
}
