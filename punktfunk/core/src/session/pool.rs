//! Recycled buffers, so that a stream at rest allocates nothing.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

/// Buffers that are kept for reuse, and the most bytes they may hold together.
#[derive(Debug)]
pub struct BufferPool {
    free: Mutex<Free>,
    keep_bytes: usize,
}

#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
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

    /// A buffer of `len` bytes with unspecified content (zeroes or what an earlier frame left there).
    #[must_use]
    pub fn take(self: &Arc<Self>, len: usize) -> PooledBuf {
        let recycled = {
            let mut free = self.free.lock().unwrap_or_else(|e| e.into_inner());
            // The most recent buffer that is large enough is the one most likely still in the cache.
            let fit = free.buffers.iter().rposition(|b| b.len() >= len);
            fit.map(|i| {
                let buffer = free.buffers.remove(i);
                free.bytes -= buffer.len();
                buffer
            })
        };
        let bytes = recycled.unwrap_or_else(|| vec![0; len.next_multiple_of(4096)]);
        PooledBuf {
            bytes,
            len,
            pool: Arc::clone(self),
        }
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut free = self.free.lock().unwrap_or_else(|e| e.into_inner());
        if free.bytes + buffer.len() <= self.keep_bytes {
            free.bytes += buffer.len();
            free.buffers.push(buffer);
        }
    }
}

/// A buffer that goes back to its pool when it is dropped.
#[derive(Debug)]
pub struct PooledBuf {
    bytes: Vec<u8>,
    len: usize,
    pool: Arc<BufferPool>,
}

impl PooledBuf {
    /// Shorten the visible part to `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Deref for PooledBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for PooledBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
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
    fn a_dropped_buffer_is_used_again() {
        let pool = BufferPool::new(1 << 20);
        let first = pool.take(5000);
        let at = first.as_ptr();
        drop(first);
        assert_eq!(pool.take(4000).as_ptr(), at);
    }

    #[test]
    fn a_pool_keeps_no_more_than_it_may() {
        let pool = BufferPool::new(8192);
        let buffers: Vec<_> = (0..10).map(|_| pool.take(4096)).collect();
        drop(buffers);
        assert_eq!(pool.free.lock().unwrap().bytes, 8192);
    }

    #[test]
    fn a_buffer_too_small_is_not_handed_out() {
        let pool = BufferPool::new(1 << 20);
        drop(pool.take(4096));
        assert_eq!(pool.take(10_000).len(), 10_000);
    }
}
