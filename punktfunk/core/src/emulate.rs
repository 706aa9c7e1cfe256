//! The seeded link model, without I/O or clock.
