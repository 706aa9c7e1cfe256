//! Threads and sockets around a session.
