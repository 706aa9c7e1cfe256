//! Two sessions and a link model in virtual time.
