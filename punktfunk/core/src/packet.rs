//! The punktfunk/1 packet header and the geometry of a frame (sections 4.4 and 4.5).
