//! Counters of both directions and the frame records.
