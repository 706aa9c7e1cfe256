//! Host and client sessions as state machines without I/O or clock.
