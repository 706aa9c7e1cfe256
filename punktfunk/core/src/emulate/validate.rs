//! Ranges of a link spec, and what its changes make of it.

use super::draw::Chance;
use super::spec::{
    LinkSpec, LossSpec, MAX_AT_MS, MAX_DELAY_US, MAX_POINTS, MAX_QUEUE_PACKETS, MAX_RATE_KBPS,
    ReorderSpec,
};

/// Why a link spec was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LinkSpecError {
    /// Not JSON, an unknown key, or a value of the wrong type.
    #[error("link spec: {0}")]
    Syntax(String),
    /// A value outside its range.
    #[error("link spec: {key} is {value}, must be {allowed}")]
    Range {
        /// Path of the key.
        key: String,
        /// What it was.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// Points of a trace or changes that do not make a time series.
    #[error("link spec: {key}: {problem}")]
    Series {
        /// `trace` or `changes`.
        key: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
}

impl LinkSpec {
    /// Parse and check a spec.
    ///
    /// # Errors
    /// [`LinkSpecError`] with the key that is wrong.
    pub fn from_json(json: &str) -> Result<Self, LinkSpecError> {
        let spec: Self =
            serde_json::from_str(json).map_err(|e| LinkSpecError::Syntax(e.to_string()))?;
        spec.validate()?;
        Ok(spec)
    }

    /// Check every range and that trace and changes are time series.
    ///
    /// # Errors
    /// [`LinkSpecError::Range`] or [`LinkSpecError::Series`].
    pub fn validate(&self) -> Result<(), LinkSpecError> {
        self.validate_values("")?;
        series("trace", self.trace.iter().map(|p| p.at_ms))?;
        for (i, point) in self.trace.iter().enumerate() {
            let key = |name: &str| format!("trace[{i}].{name}");
            if let Some(rate) = point.rate_kbps {
                within(
                    rate <= MAX_RATE_KBPS,
                    || key("rate_kbps"),
                    rate,
                    RATE_OR_ZERO,
                )?;
            }
            if let Some(delay) = point.delay_us {
                within(is_delay(delay), || key("delay_us"), delay, DELAY)?;
            }
            if let Some(p) = point.loss_p {
                within(is_probability(p), || key("loss_p"), p, PROBABILITY)?;
            }
        }
        if self.trace_repeat {
            let wrong = |problem| {
                Err(LinkSpecError::Series {
                    key: "trace",
                    problem,
                })
            };
            if self.trace.len() < 2 {
                return wrong("a repeated trace needs at least two points");
            }
            if self.trace[0].at_ms != 0.0 {
                return wrong("a repeated trace starts at 0 ms");
            }
        }
        self.steps().map(drop)
    }

    /// The spec and its successors by `changes`, with the time in ms of each, all checked.
    pub(super) fn steps(&self) -> Result<Vec<(f64, LinkSpec)>, LinkSpecError> {
        series("changes", self.changes.iter().map(|c| c.at_ms))?;
        let base = LinkSpec {
            trace: Vec::new(),
            trace_repeat: false,
            changes: Vec::new(),
            ..self.clone()
        };
        let mut steps = vec![(0.0, base)];
        if self.changes.is_empty() {
            return Ok(steps);
        }
        let syntax = |e: serde_json::Error| LinkSpecError::Syntax(format!("changes: {e}"));
        let mut value = serde_json::to_value(&steps[0].1).map_err(syntax)?;
        for (i, change) in self.changes.iter().enumerate() {
            for (key, new) in &change.set {
                if matches!(key.as_str(), "trace" | "trace_repeat" | "changes") {
                    return Err(LinkSpecError::Series {
                        key: "changes",
                        problem: "a change cannot set trace, trace_repeat or changes",
                    });
                }
                value[key] = new.clone();
            }
            let spec: LinkSpec = serde_json::from_value(value.clone()).map_err(syntax)?;
            spec.validate_values(&format!("changes[{i}].set."))?;
            steps.push((change.at_ms, spec));
        }
        Ok(steps)
    }

    fn validate_values(&self, prefix: &str) -> Result<(), LinkSpecError> {
        let key = |name: &str| format!("{prefix}{name}");
        if let Some(rate) = self.rate_kbps {
            let fits = (1..=MAX_RATE_KBPS).contains(&rate);
            within(fits, || key("rate_kbps"), rate, RATE)?;
        }
        if let Some(packets) = self.queue_packets {
            let fits = (1..=MAX_QUEUE_PACKETS).contains(&packets);
            within(fits, || key("queue_packets"), packets, "1 to 1000000")?;
        }
        if let Some(bytes) = self.queue_bytes {
            let fits = (1..=1 << 32).contains(&bytes);
            within(fits, || key("queue_bytes"), bytes, "1 to 4294967296")?;
        }
        let overhead = self.overhead_bytes;
        within(
            overhead <= 1500,
            || key("overhead_bytes"),
            overhead,
            "0 to 1500",
        )?;
        within(
            is_delay(self.delay_us),
            || key("delay_us"),
            self.delay_us,
            DELAY,
        )?;
        within(
            is_delay(self.jitter_us),
            || key("jitter_us"),
            self.jitter_us,
            DELAY,
        )?;
        for (name, p) in [("duplicate", self.duplicate), ("corrupt", self.corrupt)] {
            within(is_probability(p), || key(name), p, PROBABILITY)?;
        }
        if let Some(ReorderSpec { p, extra_us }) = self.reorder {
            within(is_probability(p), || key("reorder.p"), p, PROBABILITY)?;
            within(
                is_delay(extra_us),
                || key("reorder.extra_us"),
                extra_us,
                DELAY,
            )?;
        }
        match self.loss {
            LossSpec::None {} => {}
            LossSpec::Independent { p } => {
                within(is_probability(p), || key("loss.p"), p, PROBABILITY)?;
            }
            LossSpec::GilbertElliott { p, r, bad, good } => {
                for (name, x) in [
                    ("loss.p", p),
                    ("loss.r", r),
                    ("loss.bad", bad),
                    ("loss.good", good),
                ] {
                    within(is_probability(x), || key(name), x, PROBABILITY)?;
                }
                // With both at 0 the chain has no stationary distribution to start from.
                within(
                    !(Chance::new(p).is_never() && Chance::new(r).is_never()),
                    || key("loss.p and loss.r"),
                    0,
                    "not both 0",
                )?;
            }
            LossSpec::Periodic { every, offset } => {
                within(every >= 1, || key("loss.every"), every, "at least 1")?;
                within(
                    offset < every,
                    || key("loss.offset"),
                    offset,
                    "less than loss.every",
                )?;
            }
        }
        Ok(())
    }
}

const PROBABILITY: &str = "between 0 and 1";
const DELAY: &str = "between 0 and 60000000 us";
const RATE: &str = "1 to 400000000 kbit/s, or null for unlimited";
const RATE_OR_ZERO: &str = "0 (outage) to 400000000 kbit/s, or null for unchanged";

fn is_probability(p: f64) -> bool {
    (0.0..=1.0).contains(&p)
}

fn is_delay(us: f64) -> bool {
    (0.0..=MAX_DELAY_US).contains(&us)
}

fn within(
    fits: bool,
    key: impl FnOnce() -> String,
    value: impl ToString,
    allowed: &'static str,
) -> Result<(), LinkSpecError> {
    if fits {
        return Ok(());
    }
    Err(LinkSpecError::Range {
        key: key(),
        value: value.to_string(),
        allowed,
    })
}

fn series(
    key: &'static str,
    times: impl ExactSizeIterator<Item = f64>,
) -> Result<(), LinkSpecError> {
    let wrong = |problem| Err(LinkSpecError::Series { key, problem });
    if times.len() > MAX_POINTS {
        return wrong("more than 1000000 points");
    }
    let mut previous = -1.0;
    for at in times {
        if !(0.0..=MAX_AT_MS).contains(&at) {
            return wrong("at_ms must be between 0 and 864000000");
        }
        if at <= previous {
            return wrong("at_ms must grow from point to point");
        }
        previous = at;
    }
    Ok(())
}
