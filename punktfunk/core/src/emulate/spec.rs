//! What a link is asked to be: the JSON of a scenario, checked.

use serde::{Deserialize, Serialize};

use super::draw::Chance;

/// Longest delay, jitter or extra delay: one minute.
pub const MAX_DELAY_US: f64 = 60e6;
/// Highest rate: 400 Gbit/s.
pub const MAX_RATE_KBPS: u64 = 400_000_000;
/// Most packets that a queue may hold, whether its limit is in packets or in bytes.
pub const MAX_QUEUE_PACKETS: u32 = 1_000_000;
/// Limit of a rate-limited link's queue when the spec names none (Linux's default for a qdisc).
pub const DEFAULT_QUEUE_PACKETS: u32 = 1000;
/// Most points of a trace and most changes.
pub const MAX_POINTS: usize = 1_000_000;
/// Latest time of a trace point or change: ten days.
pub const MAX_AT_MS: f64 = 864e6;

/// A link direction, as the scenario writes it. Every key is optional; the default is a perfect link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkSpec {
    /// Rate of the bottleneck in kbit/s of payload plus `overhead_bytes`; none = unlimited.
    pub rate_kbps: Option<u64>,
    /// Most packets that wait for the bottleneck (the one in transmission does not count); tail drop.
    pub queue_packets: Option<u32>,
    /// Most bytes that wait for the bottleneck; tail drop.
    pub queue_bytes: Option<u64>,
    /// Bytes that each packet has on the wire besides its UDP payload (28 = IPv4 and UDP headers).
    pub overhead_bytes: u32,
    /// One-way delay after the bottleneck.
    pub delay_us: f64,
    /// Spread of the delay: half-width (uniform), standard deviation (normal) or mean of the addition (pareto).
    pub jitter_us: f64,
    /// Shape of the jitter.
    pub jitter_distribution: JitterDistribution,
    /// Whether jitter may reorder packets; otherwise a packet never leaves before its predecessor.
    pub jitter_reorder: bool,
    /// Which packets are lost.
    pub loss: LossSpec,
    /// Packets that are held back so that later ones overtake them.
    pub reorder: Option<ReorderSpec>,
    /// Probability that a packet arrives twice.
    pub duplicate: f64,
    /// Probability that a bit of a packet flips.
    pub corrupt: f64,
    /// Whether the receiver's checksum notices a flipped bit.
    pub corrupt_mode: CorruptMode,
    /// Rate, delay and loss over time; overrides what `changes` say about the same keys.
    pub trace: Vec<TracePoint>,
    /// Start the trace over when it ends. Its last point lasts as long as the one before it.
    pub trace_repeat: bool,
    /// Other values of any key from a given time on.
    pub changes: Vec<Change>,
}

impl Default for LinkSpec {
    fn default() -> Self {
        Self {
            rate_kbps: None,
            queue_packets: None,
            queue_bytes: None,
            overhead_bytes: 28,
            delay_us: 0.0,
            jitter_us: 0.0,
            jitter_distribution: JitterDistribution::Uniform,
            jitter_reorder: false,
            loss: LossSpec::default(),
            reorder: None,
            duplicate: 0.0,
            corrupt: 0.0,
            corrupt_mode: CorruptMode::Checksum,
            trace: Vec::new(),
            trace_repeat: false,
            changes: Vec::new(),
        }
    }
}

/// Shape of the jitter that is added to the delay; the sum is never below zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JitterDistribution {
    /// Between minus and plus `jitter_us`.
    Uniform,
    /// Normal with standard deviation `jitter_us`.
    Normal,
    /// Added only: Pareto (Lomax) of shape 3 with mean `jitter_us`, cut off at 198 times the mean.
    Pareto,
}

/// Which packets are lost, by packet number from 0 in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum LossSpec {
    /// No packet.
    None {},
    /// Each packet with probability `p`.
    Independent {
        /// Probability of loss.
        p: f64,
    },
    /// Two-state Markov chain that steps once a packet and starts in its stationary distribution.
    GilbertElliott {
        /// Probability of going from good to bad.
        p: f64,
        /// Probability of going from bad to good; 1/r is the mean number of packets in the bad state.
        r: f64,
        /// Probability of loss in the bad state.
        #[serde(default = "one")]
        bad: f64,
        /// Probability of loss in the good state.
        #[serde(default)]
        good: f64,
    },
    /// Packet n when n % every == offset.
    Periodic {
        /// Period in packets.
        every: u64,
        /// Phase in packets.
        #[serde(default)]
        offset: u64,
    },
}

impl Default for LossSpec {
    fn default() -> Self {
        Self::None {}
    }
}

fn one() -> f64 {
    1.0
}

/// Packets that are held back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReorderSpec {
    /// Probability that a packet is held back.
    pub p: f64,
    /// How much longer such a packet takes.
    pub extra_us: f64,
}

/// What a flipped bit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorruptMode {
    /// The receiver's UDP checksum finds it and drops the packet: what a network does.
    Checksum,
    /// It reaches the application: what the packet protection must find.
    Payload,
}

/// A point of a trace: values that hold from its time on. A value left out stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracePoint {
    /// Time from the start of the link.
    pub at_ms: f64,
    /// Rate; 0 is an outage, during which packets queue.
    #[serde(default)]
    pub rate_kbps: Option<u64>,
    /// Delay.
    #[serde(default)]
    pub delay_us: Option<f64>,
    /// Independent loss of this probability instead of the spec's loss.
    #[serde(default)]
    pub loss_p: Option<f64>,
}

/// Keys of the spec that take other values at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Time from the start of the link.
    pub at_ms: f64,
    /// The keys; anything but `trace`, `trace_repeat` and `changes`. Later changes build on earlier ones.
    pub set: serde_json::Map<String, serde_json::Value>,
}

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
