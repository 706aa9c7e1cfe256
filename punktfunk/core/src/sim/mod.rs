//! Two sessions and a link model in virtual time.
//!
//! Host and client are the state machines that real streams run; only the clock and the wire are not real. A run depends
//! on nothing but its specification: the same one gives the same bytes.

mod content;
mod engine;
mod report;
mod spec;
mod wire;

pub use content::{Content, ContentKind};
pub use report::SimOutcome;
pub use spec::{SimSpec, SimSpecError};
pub use wire::SimWire;

/// Run a specification to its end.
///
/// # Errors
/// [`SimSpecError`]; what happens on the link is never an error.
pub fn simulate(json: &str) -> Result<SimOutcome, SimSpecError> {
    let spec = SimSpec::from_json(json)?;
    engine::Engine::new(&spec)?.run()
}
