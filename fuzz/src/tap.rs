//! The offloads of a TAP: what is joined for the kernel, and what the kernel gives to be cut.

use ixmap::control::tap::{Coalescer, Segments, VnetHeader};

use crate::pieces;

/// Bytes of a `struct virtio_net_hdr`.
const HEADER: usize = 10;

/// Frames in a row are joined and cut again, and must be the same; and the input itself is a frame
/// behind a virtio header, of which no segment may be longer than the frame.
pub fn tap(data: &[u8]) {
    let frames = pieces(data);
    let mut again = Vec::new();
    for (header, frame) in join(&frames) {
        again.extend(cut(header, frame));
    }
    assert_eq!(again, frames, "joined and cut again");
    if let Some((header, frame)) = data.split_first_chunk::<HEADER>() {
        let segments = cut(VnetHeader::from_bytes(header), frame.to_vec());
        let fits = |segment: &Vec<u8>| segment.len() <= frame.len();
        assert!(segments.iter().all(fits), "a segment longer than the frame");
    }
}

/// Frames that were joined with others.
#[cfg(test)]
pub(crate) fn joined(data: &[u8]) -> usize {
    let frames = pieces(data);
    frames.len() - join(&frames).len()
}

/// As ixmapd gives them to the kernel.
fn join(frames: &[&[u8]]) -> Vec<(VnetHeader, Vec<u8>)> {
    let (mut row, mut given) = (Coalescer::new(), Vec::new());
    for frame in frames {
        if row.take(frame) {
            continue;
        }
        given.extend(release(&mut row));
        if !row.take(frame) {
            given.push((VnetHeader::default(), frame.to_vec()));
        }
    }
    given.extend(release(&mut row));
    given
}

fn release(row: &mut Coalescer) -> Option<(VnetHeader, Vec<u8>)> {
    let (header, frame, _) = row.release()?;
    Some((header, frame.to_vec()))
}

fn cut(header: VnetHeader, mut frame: Vec<u8>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(mut segments) = Segments::new(header, &mut frame) {
        while let Some(segment) = segments.next_segment() {
            all.push(segment.to_vec());
        }
    }
    all
}
