//! Things and lists on cache lines of their own.

use std::ops::{Deref, DerefMut};

/// Bytes that one core fetches at once: a line and its neighbour.
const PAIR: usize = 128;

/// A thing that has its cache lines to itself: on another core's heap, too.
#[derive(Default, Debug)]
#[repr(align(128))]
pub struct OwnLines<T>(pub T);

const _: () = assert!(align_of::<OwnLines<u8>>() == PAIR);

impl<T> Deref for OwnLines<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for OwnLines<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A list that shares no cache line with what lies beside it on the heap, which may be another core's.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Apart<T>(Box<[T]>);

impl<T: Copy> Apart<T> {
    /// So many times the same.
    pub fn new(value: T, len: usize) -> Apart<T> {
        Apart(vec![value; len + 2 * Apart::<T>::MARGIN].into_boxed_slice())
    }
}

impl<T> Apart<T> {
    /// Elements before the first and behind the last, which nobody touches.
    const MARGIN: usize = PAIR.div_ceil(size_of::<T>());
}

impl<T> Deref for Apart<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        &self.0[Apart::<T>::MARGIN..self.0.len() - Apart::<T>::MARGIN]
    }
}

impl<T> DerefMut for Apart<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        let end = self.0.len() - Apart::<T>::MARGIN;
        &mut self.0[Apart::<T>::MARGIN..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_list_are_within_its_memory() {
        for len in [1, 7, 16, 512] {
            let list = Apart::new(0u32, len);
            assert_eq!(*list, vec![0; len]);
            let (inner, outer) = (list.as_ptr_range(), list.0.as_ptr_range());
            let first = inner.start.addr() / PAIR * PAIR;
            let end = inner.end.addr().next_multiple_of(PAIR);
            assert!(outer.start.addr() <= first && end <= outer.end.addr());
        }
    }
}
