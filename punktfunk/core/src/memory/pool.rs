//! Recycled buffers, so that a stream at rest allocates nothing.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut, Range};
use std::sync::{Arc, Mutex};

/// Smallest buffer.
const MIN_BYTES: usize = 64;

/// Return the bytes that a buffer for `len` occupies, new or used again: the next quarter of a power of two. That is what
/// a meter must count, and frames of about the same size share their buffers.
#[must_use]
pub const fn footprint(len: usize) -> usize {
    if len <= MIN_BYTES {
        return MIN_BYTES;
    }
    len.next_multiple_of(1 << (len.ilog2() - 2))
}

/// Buffers that are kept for reuse, and the most bytes they may hold together.
#[derive(Debug)]
pub struct BufferPool {
    free: Mutex<Free>,
    keep_bytes: usize,
}

#[derive(Debug, Default)]
struct Free {
    /// The one given back longest ago first.
    buffers: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl BufferPool {
    /// A pool that keeps at most `keep_bytes` of unused buffers.
    #[must_use]
    pub fn new(keep_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::default(),
            keep_bytes,
        })
    }

    /// Return a buffer of `len` bytes with unspecified content (zeroes or what an earlier frame left there).
    #[must_use]
    pub fn take(self: &Arc<Self>, len: usize) -> PooledBuf {
        let bytes = footprint(len);
        let recycled = {
            let mut free = self.free.lock().unwrap_or_else(|e| e.into_inner());
            // Of this very size: a larger one would hold more than was counted for it. The most recent is the one
            // most likely still in the cache.
            let fit = free.buffers.iter().rposition(|b| b.len() == bytes);
            fit.and_then(|i| {
                let buffer = free.buffers.remove(i)?;
                free.bytes -= buffer.len();
                Some(buffer)
            })
        };
        let bytes = recycled.unwrap_or_else(|| vec![0; bytes]);
        PooledBuf {
            bytes,
            visible: 0..u32::try_from(len).expect("no buffer of 4 GiB"),
            pool: Arc::clone(self),
        }
    }

    fn give_back(&self, buffer: Vec<u8>) {
        if buffer.len() > self.keep_bytes {
            return;
        }
        let mut free = self.free.lock().unwrap_or_else(|e| e.into_inner());
        free.bytes += buffer.len();
        free.buffers.push_back(buffer);
        // Sizes that are no longer asked for make room for those that are.
        while free.bytes > self.keep_bytes {
            let Some(oldest) = free.buffers.pop_front() else {
                break;
            };
            free.bytes -= oldest.len();
        }
    }
}

/// A buffer that goes back to its pool when it is dropped.
#[derive(Debug)]
pub struct PooledBuf {
    bytes: Vec<u8>,
    /// Of 32 bits, for there is one of these to every block that is received.
    visible: Range<u32>,
    pool: Arc<BufferPool>,
}

impl PooledBuf {
    /// Return the bytes that it occupies, however much of it is visible.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.bytes.len()
    }

    /// Shorten the visible part to `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.narrow(0..len);
    }

    /// Show only the bytes of `part`, counted in what is visible now.
    pub fn narrow(&mut self, part: Range<usize>) {
        let Range { start, end } = self.visible;
        let at =
            |offset: usize| u32::try_from(offset).map_or(end, |o| start.saturating_add(o).min(end));
        self.visible = at(part.start)..at(part.end);
    }
}

impl Deref for PooledBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.visible.start as usize..self.visible.end as usize]
    }
}

impl DerefMut for PooledBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.visible.start as usize..self.visible.end as usize]
    }
}

impl Drop for PooledBuf {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_occupies_at_most_a_quarter_more_than_was_asked_for() {
        for (len, bytes) in [
            (0, 64),
            (64, 64),
            (65, 80),
            (128, 128),
            (129, 160),
            (4096, 4096),
            (4097, 5120),
            (64 << 20, 64 << 20),
        ] {
            assert_eq!(footprint(len), bytes, "{len}");
            assert_eq!(BufferPool::new(0).take(len).footprint(), bytes);
        }
        assert!((65..100_000).all(|len| (len..=len + len / 4).contains(&footprint(len))));
    }

    #[test]
    fn a_dropped_buffer_is_used_again_for_about_the_same_size() {
        let pool = BufferPool::new(1 << 20);
        let first = pool.take(5000);
        let at = first.as_ptr();
        drop(first);
        assert_eq!(pool.take(4800).as_ptr(), at);
    }

    #[test]
    fn a_buffer_is_used_for_nothing_that_was_counted_smaller() {
        let pool = BufferPool::new(1 << 20);
        drop(pool.take(100_000));
        assert_eq!(pool.take(100).footprint(), footprint(100));
    }

    #[test]
    fn a_pool_keeps_no_more_than_it_may_and_forgets_the_oldest() {
        let pool = BufferPool::new(8192);
        let kept = |pool: &BufferPool| pool.free.lock().unwrap().bytes;
        drop([(); 10].map(|()| pool.take(4096)));
        assert_eq!(kept(&pool), 8192);
        drop(pool.take(2048));
        assert_eq!(kept(&pool), 4096 + 2048, "one of the old ones made room");
        drop(pool.take(8193));
        assert_eq!(kept(&pool), 4096 + 2048, "too large to be kept at all");
    }

    #[test]
    fn a_buffer_as_large_as_the_pool_is_kept_and_counted_until_it_is_used() {
        let pool = BufferPool::new(8192);
        let kept = |pool: &BufferPool| pool.free.lock().unwrap().bytes;
        drop(pool.take(8192));
        assert_eq!(kept(&pool), 8192);
        drop(pool.take(3072));
        assert_eq!(kept(&pool), 3072, "the large one made room");
        let used = pool.take(3072);
        assert_eq!(kept(&pool), 0);
        drop(used);
        assert_eq!(kept(&pool), 3072);
    }

    #[test]
    fn a_shortened_buffer_shows_its_beginning_and_goes_back_whole() {
        let pool = BufferPool::new(1 << 20);
        let mut buffer = pool.take(100);
        buffer[39] = 7;
        buffer.truncate(40);
        buffer.truncate(90);
        assert_eq!((buffer.len(), buffer[39]), (40, 7));
        assert_eq!(buffer.footprint(), 112);
        drop(buffer);
        assert_eq!(pool.take(112).footprint(), 112);
    }

    #[test]
    fn a_narrowed_buffer_shows_a_part_of_what_it_showed() {
        let pool = BufferPool::new(1 << 20);
        let mut buffer = pool.take(100);
        buffer.iter_mut().zip(0..).for_each(|(byte, i)| *byte = i);
        buffer.narrow(8..50);
        assert_eq!((buffer.len(), buffer[0]), (42, 8));
        buffer.narrow(2..100);
        assert_eq!((buffer.len(), buffer[0]), (40, 10));
        buffer.truncate(1);
        assert_eq!(&*buffer, [10]);
        buffer.narrow(5..7);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_buffer_too_small_is_not_handed_out() {
        let pool = BufferPool::new(1 << 20);
        drop(pool.take(4096));
        assert_eq!(pool.take(10_000).len(), 10_000);
    }
}
