//! Forward error correction: two codes behind one trait.
