//! The TUN pump around the link model.
