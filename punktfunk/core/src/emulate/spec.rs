//! What a link is asked to be: the JSON of a scenario, checked.

use serde::{Deserialize, Serialize};

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
