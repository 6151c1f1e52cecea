//! Counting what a newer kernel says and ixmap does not know: it is skipped, but not in secret.

use super::attributes::attributes;
use super::message::Message;
use super::netconf::{NETCONF_HEADER, RTM_DELNETCONF};
use super::rule::RULE_HEADER;

const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
/// Bits of an attribute's type that are none of its number (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
const FLAGS: u16 = 0xc000;

/// Messages and attributes that Linux 6.18 did not have.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Unknown {
    pub messages: u64,
    pub attributes: u64,
}

impl Unknown {
    /// Counts what is unknown of a message of the subscribed groups.
    pub(super) fn count(&mut self, message: &Message<'_>) {
        // The length of the fixed header, and the last attribute of Linux 6.18.
        let (header, last) = match message.kind {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => (16, 69),
            libc::RTM_NEWADDR | libc::RTM_DELADDR => (8, 11),
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => (12, 31),
            libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => (12, 17),
            libc::RTM_NEWRULE | libc::RTM_DELRULE => (RULE_HEADER, 30),
            libc::RTM_NEWNETCONF | RTM_DELNETCONF => (NETCONF_HEADER, 9),
            RTM_NEWNEXTHOP | RTM_DELNEXTHOP => (8, 17),
            _ => {
                self.messages += 1;
                return;
            }
        };
        let strange = attributes(message.payload, header)
            .flatten()
            .filter(|attribute| attribute.kind() & !FLAGS > last);
        self.attributes += u64::try_from(strange.count()).unwrap_or(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(kind: u16, payload: &[u8]) -> (u64, u64) {
        let mut unknown = Unknown::default();
        unknown.count(&Message {
            kind,
            flags: 0,
            sequence: 0,
            payload,
        });
        (unknown.messages, unknown.attributes)
    }

    #[test]
    fn a_message_type_of_the_future_counts_once_and_a_known_one_not_at_all() {
        assert_eq!(count(200, &[0; 64]), (1, 0));
        assert_eq!(count(libc::RTM_NEWROUTE, &[0; 12]), (0, 0));
    }

    #[test]
    fn attributes_of_the_future_are_counted_nested_or_not() {
        let mut payload = vec![2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for kind in [31u16, 32, 32 | 0x8000, 0x3ffe] {
            payload.extend(4u16.to_ne_bytes());
            payload.extend(kind.to_ne_bytes());
        }
        assert_eq!(count(libc::RTM_NEWROUTE, &payload), (0, 3));
        // Cut short in the middle of an attribute: decoding it is a doubt, counting it ends.
        payload.extend([200, 0]);
        assert_eq!(count(libc::RTM_NEWROUTE, &payload), (0, 3));
    }
}
