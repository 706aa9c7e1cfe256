//! Packets in flight: reference-counted buffers of a few sizes, reused, under one cap.

use super::wire::Frame;

/// Buffer sizes: from one packet of an Ethernet MTU to the longest train.
const CLASS_BYTES: [usize; CLASSES] = [2_048, 4_096, 8_192, 16_384, 32_768, 65_536 + 64];
const CLASSES: usize = 6;

/// Names a held packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotId(u32);

/// A held packet.
#[derive(Debug)]
pub(super) struct Slot {
    buffer: Vec<u8>,
    class: usize,
    references: u32,
    /// What is in it.
    pub frame: Frame,
    /// When it was read.
    pub in_ns: u64,
}

impl Slot {
    /// Vnet header and packet.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.frame.bytes]
    }
}

/// All held packets of a pump.
#[derive(Debug)]
pub(super) struct Pool {
    slots: Vec<Slot>,
    free: [Vec<SlotId>; CLASSES],
    cap_bytes: usize,
    /// Bytes of all buffers ever made; they are kept for reuse.
    allocated_bytes: usize,
}

impl Pool {
    pub(super) fn new(cap_bytes: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: [const { Vec::new() }; CLASSES],
            cap_bytes,
            allocated_bytes: 0,
        }
    }

    /// Copy a packet that was read at `in_ns` into the pool, with one reference; none when the cap is reached.
    pub(super) fn hold(&mut self, bytes: &[u8], frame: Frame, in_ns: u64) -> Option<SlotId> {
        let class = CLASS_BYTES.iter().position(|&size| bytes.len() <= size)?;
        let id = match self.free[class].pop() {
            Some(id) => id,
            None => self.allocate(class)?,
        };
        let slot = self.slot_mut(id);
        slot.buffer[..bytes.len()].copy_from_slice(bytes);
        slot.references = 1;
        slot.frame = frame;
        slot.in_ns = in_ns;
        Some(id)
    }

    fn allocate(&mut self, class: usize) -> Option<SlotId> {
        let size = CLASS_BYTES[class];
        if self.allocated_bytes + size > self.cap_bytes && !self.shed(class, size) {
            return None;
        }
        self.allocated_bytes += size;
        let id = SlotId(u32::try_from(self.slots.len()).ok()?);
        self.slots.push(Slot {
            buffer: vec![0; size],
            class,
            references: 0,
            frame: Frame::parse(&[]),
            in_ns: 0,
        });
        Some(id)
    }

    /// Give back unused buffers of other sizes until `size` fits under the cap.
    fn shed(&mut self, class: usize, size: usize) -> bool {
        for other in (0..CLASS_BYTES.len()).filter(|&other| other != class) {
            while self.allocated_bytes + size > self.cap_bytes {
                let Some(id) = self.free[other].pop() else {
                    break;
                };
                // The slot number is lost with it; numbers are cheaper than a search for them.
                self.slot_mut(id).buffer = Vec::new();
                self.allocated_bytes -= CLASS_BYTES[other];
            }
        }
        self.allocated_bytes + size <= self.cap_bytes
    }

    pub(super) fn slot(&self, id: SlotId) -> &Slot {
        &self.slots[id.0 as usize]
    }

    fn slot_mut(&mut self, id: SlotId) -> &mut Slot {
        &mut self.slots[id.0 as usize]
    }

    /// Add a reference.
    pub(super) fn retain(&mut self, id: SlotId) {
        self.slot_mut(id).references += 1;
    }

    /// Drop a reference; with the last one the buffer is free.
    pub(super) fn release(&mut self, id: SlotId) {
        let slot = self.slot_mut(id);
        slot.references -= 1;
        if slot.references == 0 {
            let class = slot.class;
            self.free[class].push(id);
        }
    }

    /// Bytes of all buffers, used or not.
    pub(super) fn allocated_bytes(&self) -> usize {
        self.allocated_bytes
    }

    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        self.slots.len() - self.free.iter().map(Vec::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(pool: &mut Pool, bytes: usize) -> Option<SlotId> {
        let data = vec![9; bytes];
        pool.hold(&data, Frame::parse(&data), 5)
    }

    #[test]
    fn buffers_are_reused_and_capped() {
        let mut pool = Pool::new(3 * 2_048);
        let ids: Vec<_> = (0..3).map(|_| hold(&mut pool, 1_300).unwrap()).collect();
        assert_eq!(hold(&mut pool, 1_300), None);
        pool.retain(ids[1]);
        pool.release(ids[1]);
        assert_eq!(hold(&mut pool, 1_300), None);
        pool.release(ids[1]);
        assert_eq!(hold(&mut pool, 700), Some(ids[1]));
        assert_eq!(pool.slot(ids[1]).bytes(), vec![9; 700]);
        assert_eq!(pool.allocated_bytes(), 3 * 2_048);
    }

    #[test]
    fn unused_buffers_of_another_size_make_room() {
        let mut pool = Pool::new(18_432);
        let small: Vec<_> = (0..9).map(|_| hold(&mut pool, 100).unwrap()).collect();
        assert_eq!(hold(&mut pool, 10_000), None);
        small.into_iter().for_each(|id| pool.release(id));
        assert!(hold(&mut pool, 10_000).is_some());
        assert!(pool.allocated_bytes() <= 18_432);
        assert_eq!(hold(&mut pool, 70_000), None);
    }
}
