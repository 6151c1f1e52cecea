use super::*;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::fs::File as StdFile;
use std::os::unix::fs::FileExt;

const PAGE: u64 = 4096;

fn shared(pages: u64) -> StdFile {
    let fd = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, pages * PAGE).unwrap();
    fd.into()
}

fn fd(file: &StdFile) -> Option<OwnedFd> {
    Some(file.try_clone().unwrap().into())
}

fn why(result: Result<(), DmaFault>) -> DmaFaultKind {
    result.unwrap_err().why
}

#[test]
fn what_is_written_is_in_the_file_and_reads_back() {
    let file = shared(4);
    let mut memory = GuestMemory::new();
    memory
        .map(0x1_0000, 2 * PAGE, fd(&file), PAGE, true)
        .unwrap();
    // Sizes and alignments on both sides of the word-by-word copies.
    for (address, len) in [
        (0x1_0000, 16),
        (0x1_0104, 4),
        (0x1_0203, 7),
        (0x1_0800, 1514),
    ] {
        let bytes: Vec<u8> = (0..len).map(|n: u16| n.to_le_bytes()[0] | 1).collect();
        memory.write(address, &bytes).unwrap();
        let mut back = vec![0; bytes.len()];
        memory.read(address, &mut back).unwrap();
        assert_eq!(back, bytes);
        file.read_exact_at(&mut back, PAGE + address - 0x1_0000)
            .unwrap();
        assert_eq!(back, bytes);
    }
}

#[test]
fn a_transfer_goes_across_ranges_that_touch_and_no_further() {
    let file = shared(2);
    let mut memory = GuestMemory::new();
    // Neighbours in the device's view that are not neighbours in memory.
    memory.map(0x5000, PAGE, fd(&file), PAGE, true).unwrap();
    memory.map(0x6000, PAGE, fd(&file), 0, true).unwrap();
    memory.write(0x5FFC, b"straddle").unwrap();
    let mut back = [0; 8];
    memory.read(0x5FFC, &mut back).unwrap();
    assert_eq!(&back, b"straddle");
    let mut start = [0; 4];
    file.read_exact_at(&mut start, 0).unwrap();
    assert_eq!(&start, b"ddle");
    assert_eq!(why(memory.read(0x6FFC, &mut back)), DmaFaultKind::Unmapped);
    assert_eq!(why(memory.write(0x4FFF, b"ab")), DmaFaultKind::Unmapped);
}

#[test]
fn a_range_ends_where_it_ends_even_at_the_top() {
    let file = shared(1);
    let mut memory = GuestMemory::new();
    memory
        .map(u64::MAX - 4095, PAGE, fd(&file), 0, true)
        .unwrap();
    memory.write(u64::MAX - 7, &[7; 8]).unwrap();
    assert_eq!(
        why(memory.write(u64::MAX - 7, &[7; 9])),
        DmaFaultKind::Unmapped
    );
}

#[test]
fn a_read_only_range_is_read_and_not_written() {
    let file = shared(1);
    let mut memory = GuestMemory::new();
    memory.map(0, PAGE, fd(&file), 0, false).unwrap();
    memory.read(0, &mut [0; 8]).unwrap();
    assert_eq!(why(memory.write(0, &[0; 8])), DmaFaultKind::ReadOnly);
}

#[test]
fn an_unmapped_range_is_gone_though_it_was_just_used() {
    let file = shared(1);
    let mut memory = GuestMemory::new();
    memory.map(0x7000, PAGE, fd(&file), 0, true).unwrap();
    memory.write(0x7000, &[1; 8]).unwrap();
    for address in [0x7000, 0x7001] {
        let part = memory.unmap(address, PAGE - 1);
        assert!(matches!(part, Err(MapError::Partial)));
    }
    memory.read(0x7000, &mut [0; 8]).unwrap();
    memory.unmap(0x7000, PAGE).unwrap();
    assert_eq!(why(memory.write(0x7000, &[1; 8])), DmaFaultKind::Unmapped);
    memory.map(0x7000, PAGE, fd(&file), 0, true).unwrap();
    memory.write(0x7000, &[2; 8]).unwrap();
    memory.clear();
    assert_eq!(
        why(memory.read(0x7000, &mut [0; 8])),
        DmaFaultKind::Unmapped
    );
    assert!(memory.is_empty());
}

#[test]
fn a_window_is_taken_back_with_all_that_is_in_it() {
    let file = shared(1);
    let mut memory = GuestMemory::new();
    for page in 0..4 {
        memory.map(page * PAGE, PAGE, fd(&file), 0, true).unwrap();
    }
    memory.unmap(PAGE, 2 * PAGE).unwrap();
    assert_eq!(memory.len(), 2);
    memory.unmap(PAGE, 2 * PAGE).unwrap();
    memory.read(3 * PAGE, &mut [0; 8]).unwrap();
    memory.unmap(0, u64::MAX).unwrap();
    assert!(memory.is_empty());
    assert!(matches!(
        memory.unmap(2, u64::MAX),
        Err(MapError::Range | MapError::Partial)
    ));
}

#[test]
fn a_range_that_is_not_shared_is_known_and_faults() {
    let mut memory = GuestMemory::new();
    memory.map(0, PAGE, None, 0, false).unwrap();
    assert_eq!(why(memory.read(0, &mut [0; 8])), DmaFaultKind::Unmapped);
    assert!(matches!(
        memory.map(0, 1, None, 0, false),
        Err(MapError::Overlap)
    ));
    memory.unmap(0, PAGE).unwrap();
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    let file = shared(2);
    let mut memory = GuestMemory::new();
    memory.map(0x2000, PAGE, fd(&file), 0, true).unwrap();
    for (address, size) in [(0x2000, PAGE), (0x1001, PAGE), (0x2FFF, 1), (0, 0x1_0000)] {
        let result = memory.map(address, size, fd(&file), 0, true);
        assert!(
            matches!(result, Err(MapError::Overlap | MapError::File)),
            "{address:#x}"
        );
    }
    for (address, size) in [(0, 0), (u64::MAX, 2), (1, u64::MAX), (PAGE, u64::MAX)] {
        let result = memory.map(address, size, fd(&file), 0, true);
        assert!(
            matches!(result, Err(MapError::Range | MapError::Overlap)),
            "{size:#x}"
        );
    }
    for (offset, size) in [
        (PAGE, 2 * PAGE),
        (2 * PAGE, 1),
        (u64::MAX, 1),
        (u64::MAX, 2),
    ] {
        let result = memory.map(0x10_0000, size, fd(&file), offset, true);
        assert!(matches!(result, Err(MapError::File)), "{offset:#x}");
    }
    let (pipe, _other) = std::io::pipe().unwrap();
    assert!(matches!(
        memory.map(0, 1, Some(pipe.into()), 0, true),
        Err(MapError::File)
    ));
    assert_eq!(memory.len(), 1);
}

#[test]
fn many_pages_of_one_file_are_one_mapping() {
    let file = shared(1024);
    let mut memory = GuestMemory::new();
    for page in 0..1024 {
        let place = 1023 - page;
        memory
            .map(page * 2 * PAGE, PAGE, fd(&file), place * PAGE, true)
            .unwrap();
    }
    assert_eq!(memory.files.len(), 1);
    for page in 0..1024 {
        memory.write(page * 2 * PAGE, &page.to_le_bytes()).unwrap();
    }
    for page in 0..1024 {
        let mut word = [0; 8];
        file.read_exact_at(&mut word, (1023 - page) * PAGE).unwrap();
        assert_eq!(u64::from_le_bytes(word), page);
        assert_eq!(
            why(memory.read((page * 2 + 1) * PAGE, &mut word)),
            DmaFaultKind::Unmapped
        );
    }
}
