//! Native probe sender and receiver, which check a link before anything is measured on it.
