//! UDP with GSO, GRO, batching and receive timestamps.
