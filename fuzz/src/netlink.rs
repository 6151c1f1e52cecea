//! What the kernel might say: messages decoded, and followed by the mirror.

use ixmap::control::mirror::{Changes, Mirror};
use ixmap::control::netlink::{Messages, decode};

/// The input is a datagram from the kernel: a mirror that follows it and one that is loaded from it
/// must end alike.
pub fn netlink(data: &[u8]) {
    let (mut followed, mut loaded) = (Mirror::default(), Mirror::blank());
    for message in Messages::new(data).flatten() {
        if let Some(event) = decode(&message) {
            followed.apply(event.clone(), &mut Changes::default());
            loaded.load(event);
        }
    }
    let changes = loaded.replace_with(followed.clone());
    assert!(followed == loaded, "{changes:?}");
}

/// Messages that say something.
#[cfg(test)]
pub(crate) fn events(data: &[u8]) -> usize {
    let messages = Messages::new(data).flatten();
    messages.filter(|message| decode(message).is_some()).count()
}
