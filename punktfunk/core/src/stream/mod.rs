//! Threads and sockets around a session.
//!
//! [`HostStream`] sends and [`ClientStream`] receives, each with a thread of its own. What the network does is counted there
//! and never ends a stream; only its owner does.

mod alarm;
mod client;
mod host;
mod thread;

pub use client::{ClientOptions, ClientStream, NextFrame};
pub use host::{HostError, HostOptions, HostStream};

/// The stream was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is closed")]
pub struct Closed;

/// A stream that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Parameters that no peer could accept.
    #[error(transparent)]
    Config(#[from] crate::session::ConfigError),
    /// The descriptor is no UDP socket, or the process is out of descriptors or threads.
    #[error("cannot use the socket: {0}")]
    Socket(#[from] std::io::Error),
}
