//! The pacer: a token bucket with a bounded burst.
