//! Two sessions and a link model in virtual time.
//!
//! Host and client are the state machines that real streams run; only the clock and the wire are not real. A run depends
//! on nothing but its specification: the same one gives the same bytes.

mod content;
mod engine;
mod follow;
mod report;
mod spec;
mod wire;

pub use content::{Content, ContentKind};
pub use follow::{Follow, LossWord, LossWords};
pub use report::SimOutcome;
pub use spec::{SimSpec, SimSpecError};
pub use wire::SimWire;

/// Run a specification to its end.
///
/// # Errors
/// [`SimSpecError`]; what happens on the link is never an error.
pub fn simulate(json: &str) -> Result<SimOutcome, SimSpecError> {
    let spec = SimSpec::from_json(json)?;
    engine::Engine::new(&spec, None)?.run()
}

/// Run a specification to its end whose `loss_words` say how often its client speaks of loss, with `follow` to make a FEC
/// percentage of it. As deterministic as `follow` is.
///
/// # Errors
/// [`SimSpecError`], also what `follow` answers as an error.
pub fn simulate_following<'a>(
    json: &str,
    follow: &'a mut Follow<'a>,
) -> Result<SimOutcome, SimSpecError> {
    let spec = SimSpec::from_json(json)?;
    engine::Engine::new(&spec, Some(follow))?.run()
}
