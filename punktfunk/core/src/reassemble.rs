//! From packets to access units (section 4.6).
