//! Real messages, damaged: whatever arrives, the mirror goes on.

use proptest::sample::Index;

use super::*;
use crate::control::netlink::Unknown;

const RULES: &str = include_str!("../../../../tests/data/netlink/rules.txt");
const OTHERS: &str = include_str!("../../../../tests/data/netlink/others.txt");

/// Every recorded datagram: routes, rules, settings, links, addresses, neighbours, next hops.
fn datagrams() -> Vec<Vec<u8>> {
    let lines = [RECORDED, RULES, OTHERS].into_iter().flat_map(str::lines);
    let hex = lines.filter_map(|line| line.strip_prefix("event "));
    hex.map(bytes).collect()
}

/// What can happen to a message on its way.
#[derive(Clone, Debug)]
enum Damage {
    Byte(Index, u8),
    Cut(Index),
    /// A piece of it again, somewhere.
    Repeat(Index, Index, Index),
    /// A length, of an attribute or of the message, that is not true.
    Length(Index, u16),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        1 => at().prop_map(Damage::Cut),
        1 => (at(), at(), at()).prop_map(|(from, to, at)| Damage::Repeat(from, to, at)),
        2 => (at(), prop_oneof![0u16..40, any::<u16>()]).prop_map(|(at, n)| Damage::Length(at, n)),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.len() < 4 {
            return;
        }
        let len = bytes.len();
        match self {
            Damage::Byte(at, byte) => bytes[at.index(len)] = *byte,
            Damage::Cut(at) => bytes.truncate(at.index(len)),
            Damage::Repeat(from, to, at) => {
                let (from, to) = (from.index(len), to.index(len));
                let piece = bytes[from.min(to)..from.max(to)].to_vec();
                let at = at.index(len) & !3;
                bytes.splice(at..at, piece);
            }
            Damage::Length(at, length) => {
                let at = at.index(len - 3) & !3;
                bytes[at..at + 2].copy_from_slice(&length.to_ne_bytes());
            }
        }
    }
}

/// Takes datagrams as the monitor does, into a mirror that is followed and one that is loaded.
fn follow(datagrams: &[Vec<u8>]) -> (Mirror, usize) {
    let (mut mirror, mut dumped) = (Mirror::default(), Mirror::blank());
    let (mut unknown, mut doubts) = (Unknown::default(), 0);
    for datagram in datagrams {
        for message in Messages::new(datagram) {
            let Ok(message) = message else {
                doubts += 1;
                continue;
            };
            unknown.count(&message);
            let Some(event) = decode(&message) else {
                continue;
            };
            let doubt = mirror.apply(event.clone(), &mut Changes::default());
            doubts += usize::from(doubt.is_some());
            dumped.load(event);
        }
    }
    let changes = dumped.replace_with(mirror.clone());
    assert!(mirror == dumped, "{changes:?}");
    (mirror, doubts)
}

#[test]
fn the_recordings_are_understood_whole() {
    let mut unknown = Unknown::default();
    let mut kinds = std::collections::BTreeSet::new();
    for datagram in datagrams() {
        for message in Messages::new(&datagram) {
            let message = message.unwrap();
            kinds.insert(message.kind);
            unknown.count(&message);
            let event = decode(&message);
            assert!(
                !matches!(event, Some(Event::Doubt { .. }) if message.kind < 104),
                "{event:?}"
            );
        }
    }
    assert_eq!(unknown, Unknown::default(), "Linux 6.18 has nothing new");
    let every = [16, 17, 20, 21, 24, 25, 28, 29, 32, 33, 80, 81, 104, 105];
    assert!(every.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
}

#[test]
fn a_message_cut_short_is_a_doubt_or_says_less_but_never_panics() {
    let mut doubts = 0;
    for whole in datagrams() {
        for end in 0..whole.len() {
            let mut cut = whole[..end].to_vec();
            // Once with the length that it had, once as if it had been meant so.
            doubts += follow(std::slice::from_ref(&cut)).1;
            if let Some(length) = cut.get_mut(..4) {
                length.copy_from_slice(&u32::try_from(end).unwrap().to_ne_bytes());
                doubts += follow(&[cut]).1;
            }
        }
    }
    assert!(doubts > 10_000, "{doubts} doubts");
}

proptest! {
    #[test]
    fn damaged_messages_never_panic_nor_break_the_tables(
        hits in proptest::collection::vec((any::<Index>(), damage()), 1..12),
    ) {
        let mut datagrams = datagrams();
        let count = datagrams.len();
        for (which, damage) in hits {
            damage.apply(&mut datagrams[which.index(count)]);
        }
        follow(&datagrams);
    }
}
