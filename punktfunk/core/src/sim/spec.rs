//! What a simulation is asked to do: JSON, checked.

use serde::Deserialize;

use super::content::{ContentKind, scatter};
use super::follow::LossWords;
use super::wire::{GameStreamSpec, SimWire};
use crate::emulate::LinkSpec;
use crate::fec::Scheme;
use crate::pacing::PacerConfig;
use crate::packetize::punktfunk1::{EmissionOrder, Sabotage};
use crate::session::host::HostSettings;
use crate::session::{ConfigError, StreamConfig};

/// Most frames of one run: 19 hours at 60 Hz, 4 GiB of records.
const MAX_FRAMES: u32 = 1 << 22;

/// A specification that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum SimSpecError {
    /// Not JSON, an unknown key, or a value of the wrong kind.
    #[error("simulation: {0}")]
    Json(#[from] serde_json::Error),
    /// The stream's parameters.
    #[error("simulation: stream: {0}")]
    Stream(#[from] ConfigError),
    /// The link.
    #[error("simulation: link: {0}")]
    Link(#[from] crate::emulate::LinkSpecError),
    /// Anything else.
    #[error("simulation: {0}")]
    Value(String),
}

/// Fields of [`StreamConfig`] with the key in hexadecimal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StreamSpec {
    scheme: String,
    fec_percent: u32,
    max_block_shards: usize,
    shard_bytes: usize,
    key: Option<String>,
    salt: String,
    max_frame_bytes: usize,
    hold_undecodable: bool,
    reorder_window_ns: u64,
    loss_window_frames: u32,
    loss_window_ns: u64,
    memory_cap_bytes: usize,
}

impl Default for StreamSpec {
    fn default() -> Self {
        let c = StreamConfig::default();
        Self {
            scheme: c.scheme.name().into(),
            fec_percent: c.fec_percent,
            max_block_shards: c.max_block_shards,
            shard_bytes: c.shard_bytes,
            key: None,
            salt: "706b6631".into(),
            max_frame_bytes: c.max_frame_bytes,
            hold_undecodable: c.hold_undecodable,
            reorder_window_ns: c.reorder_window_ns,
            loss_window_frames: c.loss_window_frames,
            loss_window_ns: c.loss_window_ns,
            memory_cap_bytes: c.memory_cap_bytes,
        }
    }
}

pub(super) fn unhex<const N: usize>(what: &str, text: &str) -> Result<[u8; N], SimSpecError> {
    let wrong = || SimSpecError::Value(format!("{what} must be {} hexadecimal digits", 2 * N));
    let mut out = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return Err(wrong());
    }
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
    }
    Ok(out)
}

impl StreamSpec {
    fn config(&self) -> Result<StreamConfig, SimSpecError> {
        let scheme = Scheme::from_name(&self.scheme).ok_or_else(|| {
            SimSpecError::Value(format!("stream: no scheme {:?}; gf8 or gf16", self.scheme))
        })?;
        let config = StreamConfig {
            scheme,
            fec_percent: self.fec_percent,
            max_block_shards: self.max_block_shards,
            shard_bytes: self.shard_bytes,
            key: self.key.as_deref().map(|k| unhex("key", k)).transpose()?,
            salt: unhex("salt", &self.salt)?,
            max_frame_bytes: self.max_frame_bytes,
            hold_undecodable: self.hold_undecodable,
            reorder_window_ns: self.reorder_window_ns,
            loss_window_frames: self.loss_window_frames,
            loss_window_ns: self.loss_window_ns,
            memory_cap_bytes: self.memory_cap_bytes,
        };
        config.validate()?;
        Ok(config)
    }
}

/// Sizes of the access units.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum FrameBytes {
    Constant {
        bytes: usize,
    },
    /// Repeated from the start when it is shorter than the run.
    List {
        bytes: Vec<usize>,
    },
    /// The sum of twelve uniform draws, which is normal but for its tails beyond three standard deviations.
    Normal {
        mean: f64,
        sd: f64,
        min: usize,
        max: usize,
    },
}

impl Default for FrameBytes {
    fn default() -> Self {
        // 20 Mbit/s at 60 frames a second.
        Self::Constant { bytes: 41_667 }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PacingSpec {
    burst_packets: u32,
    packets_per_ms: u32,
    rate_factor: f64,
}

impl Default for PacingSpec {
    fn default() -> Self {
        let c = PacerConfig::default();
        Self {
            burst_packets: c.burst_packets,
            packets_per_ms: c.packets_per_ms,
            rate_factor: c.rate_factor,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OrderSpec {
    Blocks,
    DataFirst,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SabotageSpec {
    OneRecoveryShort,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LossWordsSpec {
    interval_us: f64,
    delay_us: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    stream: StreamSpec,
    gamestream: Option<GameStreamSpec>,
    link: LinkSpec,
    seed: u64,
    frames: u32,
    fps: f64,
    frame_bytes: FrameBytes,
    key_interval: u32,
    content: ContentKind,
    rate_kbps: u32,
    pacing: PacingSpec,
    queue_frames: usize,
    order: OrderSpec,
    recovery_rtt_us: Option<f64>,
    loss_words: Option<LossWordsSpec>,
    verify_content: bool,
    sabotage: Option<SabotageSpec>,
    records: bool,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            stream: StreamSpec::default(),
            gamestream: None,
            link: LinkSpec::default(),
            seed: 0,
            frames: 60,
            fps: 60.0,
            frame_bytes: FrameBytes::default(),
            key_interval: 0,
            content: ContentKind::default(),
            rate_kbps: 20_000,
            pacing: PacingSpec::default(),
            queue_frames: HostSettings::default().queue_frames,
            order: OrderSpec::Blocks,
            recovery_rtt_us: None,
            loss_words: None,
            verify_content: true,
            sabotage: None,
            records: true,
        }
    }
}

/// A checked simulation.
#[derive(Clone, Debug)]
pub struct SimSpec {
    /// The wire, with both sessions' parameters.
    pub wire: SimWire,
    /// The host's own settings.
    pub host: HostSettings,
    /// The link from host to client.
    pub link: LinkSpec,
    /// Seed of the link and of random content and sizes.
    pub seed: u64,
    /// Access units to send.
    pub frames: u32,
    /// Time between two of them.
    pub frame_interval_ns: f64,
    frame_bytes: FrameBytes,
    /// Every n-th frame is a key frame; 0 makes all of them so.
    pub key_interval: u32,
    /// What they contain.
    pub content: ContentKind,
    /// Time from the client's recovery request to the host's answer; none = nobody asks.
    pub recovery_rtt_ns: Option<u64>,
    /// How the client's words of loss travel, where somebody follows them.
    pub loss_words: Option<LossWords>,
    /// Compare what arrives with what was sent.
    pub verify_content: bool,
    /// Keep frame records.
    pub records: bool,
}

impl SimSpec {
    /// Parse and check a specification. Every key is optional.
    ///
    /// # Errors
    /// [`SimSpecError`] names the key.
    pub fn from_json(json: &str) -> Result<Self, SimSpecError> {
        let raw: Raw = serde_json::from_str(json)?;
        raw.link.validate()?;
        let wrong = |text: &str| Err(SimSpecError::Value(text.into()));
        if !(1..=MAX_FRAMES).contains(&raw.frames) {
            return Err(SimSpecError::Value(format!(
                "frames must be 1..={MAX_FRAMES}"
            )));
        }
        if !(0.001..=1e6).contains(&raw.fps) {
            return wrong("fps must be 0.001..=1000000");
        }
        if !(0.1..=1000.0).contains(&raw.pacing.rate_factor) || raw.pacing.packets_per_ms == 0 {
            return wrong("pacing: rate_factor must be 0.1..=1000 and packets_per_ms at least 1");
        }
        if raw
            .recovery_rtt_us
            .is_some_and(|rtt| !(0.0..=60e6).contains(&rtt))
        {
            return wrong("recovery_rtt_us must be 0..=60000000");
        }
        if raw.loss_words.is_some_and(|words| {
            !(1e3..=60e6).contains(&words.interval_us) || !(0.0..=60e6).contains(&words.delay_us)
        }) {
            return wrong(
                "loss_words: interval_us must be 1000..=60000000 and delay_us 0..=60000000",
            );
        }
        match &raw.frame_bytes {
            FrameBytes::List { bytes } if bytes.is_empty() => {
                return wrong("frame_bytes: the list is empty");
            }
            FrameBytes::Normal { mean, sd, min, max }
                if !(mean.is_finite() && *sd >= 0.0 && min <= max) =>
            {
                return wrong("frame_bytes: normal wants a finite mean, sd >= 0 and min <= max");
            }
            _ => {}
        }
        let order = match raw.order {
            OrderSpec::Blocks => EmissionOrder::Blocks,
            OrderSpec::DataFirst => EmissionOrder::DataFirst,
        };
        let sabotage = raw
            .sabotage
            .map(|SabotageSpec::OneRecoveryShort| Sabotage::OneRecoveryShort);
        let wire = match &raw.gamestream {
            None => SimWire::Punktfunk1 {
                config: raw.stream.config()?,
                order,
                sabotage,
            },
            Some(_) if sabotage.is_some() || order != EmissionOrder::Blocks => {
                return wrong("order and sabotage are of punktfunk/1");
            }
            Some(gamestream) => SimWire::GameStream(gamestream.config()?),
        };
        let host = HostSettings {
            rate_kbps: raw.rate_kbps,
            queue_frames: raw.queue_frames,
            pacer: PacerConfig {
                burst_packets: raw.pacing.burst_packets.max(1),
                packets_per_ms: raw.pacing.packets_per_ms,
                rate_factor: raw.pacing.rate_factor,
                ..PacerConfig::default()
            },
            record_frames: raw.records,
        };
        let spec = Self {
            wire,
            host,
            link: raw.link,
            seed: raw.seed,
            frames: raw.frames,
            frame_interval_ns: 1e9 / raw.fps,
            frame_bytes: raw.frame_bytes,
            key_interval: raw.key_interval,
            content: raw.content,
            recovery_rtt_ns: raw.recovery_rtt_us.map(|us| (us * 1e3) as u64),
            loss_words: raw.loss_words.map(|words| LossWords {
                interval_ns: (words.interval_us * 1e3) as u64,
                delay_ns: (words.delay_us * 1e3) as u64,
            }),
            verify_content: raw.verify_content,
            records: raw.records,
        };
        let longest = spec.longest_frame();
        if longest > spec.wire.max_frame_bytes() {
            return Err(SimSpecError::Value(format!(
                "frame_bytes: {longest} exceeds max_frame_bytes {}",
                spec.wire.max_frame_bytes()
            )));
        }
        Ok(spec)
    }

    fn longest_frame(&self) -> usize {
        match &self.frame_bytes {
            FrameBytes::Constant { bytes } => *bytes,
            FrameBytes::List { bytes } => bytes.iter().copied().max().unwrap_or(0),
            FrameBytes::Normal { max, .. } => *max,
        }
    }

    /// Bytes of access unit `frame`.
    #[must_use]
    pub fn frame_bytes(&self, frame: u32) -> usize {
        match &self.frame_bytes {
            FrameBytes::Constant { bytes } => *bytes,
            FrameBytes::List { bytes } => bytes[frame as usize % bytes.len()],
            FrameBytes::Normal { mean, sd, min, max } => {
                let base = scatter(self.seed) ^ (u64::from(frame) << 8);
                let sum: f64 = (0..12)
                    .map(|i| scatter(base ^ i) as f64 / 2f64.powi(64))
                    .sum();
                let bytes = mean + sd * (sum - 6.0);
                (bytes.max(0.0) as usize).clamp(*min, *max)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        SimSpec::from_json(json).expect_err(json).to_string()
    }

    #[test]
    fn an_empty_specification_is_a_run() {
        let spec = SimSpec::from_json("{}").unwrap();
        assert_eq!(
            (spec.frames, spec.frame_bytes(3), spec.wire.packet_bytes()),
            (60, 41_667, 1240)
        );
    }

    #[test]
    fn wrong_values_are_named() {
        for (json, word) in [
            (r#"{"frame":1}"#, "frame"),
            (r#"{"frames":0}"#, "frames"),
            (r#"{"fps":0}"#, "fps"),
            (r#"{"stream":{"scheme":"gf4"}}"#, "gf4"),
            (r#"{"stream":{"key":"00"}}"#, "key"),
            (
                r#"{"stream":{"key":"00000000000000000000000000000000"}}"#,
                "key",
            ),
            (r#"{"stream":{"shard_bytes":1201}}"#, "shard_bytes"),
            (r#"{"stream":{"scheme":"gf8"}}"#, "4096"),
            (r#"{"frame_bytes":{"kind":"list","bytes":[]}}"#, "list"),
            (
                r#"{"frame_bytes":{"kind":"constant","bytes":100000000}}"#,
                "max_frame_bytes",
            ),
            (r#"{"sabotage":"everything"}"#, "everything"),
            (r#"{"gamestream":{"packet_size":1000}}"#, "packet_size"),
            (r#"{"gamestream":{"scheme":"gf8"}}"#, "scheme"),
            (r#"{"gamestream":{"codec":"vp9"}}"#, "vp9"),
            (
                r#"{"loss_words":{"interval_us":0,"delay_us":0}}"#,
                "interval_us",
            ),
            (
                r#"{"gamestream":{},"sabotage":"one_recovery_short"}"#,
                "sabotage",
            ),
            (
                r#"{"gamestream":{"packet_size":48},"frame_bytes":{"kind":"constant","bytes":140000}}"#,
                "max_frame_bytes",
            ),
            (r#"{"link":{"duplicate":2}}"#, "duplicate"),
        ] {
            assert!(error(json).contains(word), "{json}: {}", error(json));
        }
    }

    #[test]
    fn normal_sizes_have_their_mean_and_spread() {
        let json = r#"{"frames":4000,"frame_bytes":{"kind":"normal","mean":50000,"sd":5000,"min":0,"max":100000}}"#;
        let spec = SimSpec::from_json(json).unwrap();
        let sizes: Vec<f64> = (0..4000).map(|f| spec.frame_bytes(f) as f64).collect();
        let mean = sizes.iter().sum::<f64>() / 4000.0;
        let sd = (sizes.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 4000.0).sqrt();
        // Five standard errors: 5000/sqrt(4000) = 79 for the mean, 5000/sqrt(8000) = 56 for the spread.
        assert!(
            (mean - 50_000.0).abs() < 400.0 && (sd - 5000.0).abs() < 280.0,
            "{mean} {sd}"
        );
    }
}
