//! Which wire a simulation streams over, with what its peers agreed on.

use serde::Deserialize;

use super::spec::{SimSpecError, unhex};
use crate::config::{Receiving, StreamConfig};
use crate::packetize::punktfunk1::{EmissionOrder, Punktfunk1Packetizer, Sabotage};
use crate::session::host::HostSettings;
use crate::session::{ClientSession, HostSession};
use crate::wire::gamestream::{Codec, GameStreamConfig};

/// Fields of [`GameStreamConfig`] with the key in hexadecimal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GameStreamSpec {
    packet_size: usize,
    fec_percent: u32,
    min_fec: u8,
    codec: String,
    key: Option<String>,
    hold_undecodable: bool,
    reorder_window_ns: u64,
    loss_window_frames: u32,
    loss_window_ns: u64,
    memory_cap_bytes: usize,
}

impl Default for GameStreamSpec {
    fn default() -> Self {
        let c = GameStreamConfig::default();
        Self {
            packet_size: c.packet_size,
            fec_percent: c.fec_percent,
            min_fec: c.min_fec,
            codec: "h264".into(),
            key: None,
            hold_undecodable: c.receiving.hold_undecodable,
            reorder_window_ns: c.receiving.reorder_window_ns,
            loss_window_frames: c.receiving.loss_window_frames,
            loss_window_ns: c.receiving.loss_window_ns,
            memory_cap_bytes: c.receiving.memory_cap_bytes,
        }
    }
}

impl GameStreamSpec {
    pub(super) fn config(&self) -> Result<GameStreamConfig, SimSpecError> {
        let config = GameStreamConfig {
            packet_size: self.packet_size,
            fec_percent: self.fec_percent,
            min_fec: self.min_fec,
            codec: Codec::from_name(&self.codec).ok_or_else(|| {
                SimSpecError::Value(format!("gamestream: codec {:?}", self.codec))
            })?,
            key: self.key.as_deref().map(|k| unhex("key", k)).transpose()?,
            receiving: Receiving {
                hold_undecodable: self.hold_undecodable,
                reorder_window_ns: self.reorder_window_ns,
                loss_window_frames: self.loss_window_frames,
                loss_window_ns: self.loss_window_ns,
                memory_cap_bytes: self.memory_cap_bytes,
            },
            ..GameStreamConfig::default()
        };
        config
            .validate()
            .map_err(|e| SimSpecError::Value(format!("gamestream: {e}")))?;
        Ok(config)
    }
}

/// A wire and its parameters.
#[derive(Clone, Debug)]
pub enum SimWire {
    /// punktfunk/1.
    Punktfunk1 {
        /// What both ends agreed on.
        config: StreamConfig,
        /// Order of a frame's packets.
        order: EmissionOrder,
        /// A planted fault, which a check must find.
        sabotage: Option<Sabotage>,
    },
    /// GameStream's video.
    GameStream(GameStreamConfig),
}

impl SimWire {
    pub(super) fn host(&self, settings: &HostSettings) -> Result<HostSession, SimSpecError> {
        match self {
            Self::Punktfunk1 {
                config,
                order,
                sabotage,
            } => {
                let packetizer = Punktfunk1Packetizer::new(config.clone(), *order, *sabotage)?;
                Ok(HostSession::with_packetizer(
                    packetizer,
                    config.fec_percent,
                    settings,
                ))
            }
            Self::GameStream(config) => HostSession::gamestream(config.clone(), settings)
                .map_err(|e| SimSpecError::Value(e.to_string())),
        }
    }

    pub(super) fn client(&self, records: bool) -> Result<ClientSession, SimSpecError> {
        match self {
            Self::Punktfunk1 { config, .. } => Ok(ClientSession::new(config.clone(), records)?),
            Self::GameStream(config) => ClientSession::gamestream(config, records)
                .map_err(|e| SimSpecError::Value(e.to_string())),
        }
    }

    /// Bytes of every packet.
    #[must_use]
    pub fn packet_bytes(&self) -> usize {
        match self {
            Self::Punktfunk1 { config, .. } => config.packet_bytes(),
            Self::GameStream(config) => config.packet_bytes(),
        }
    }

    /// Longest access unit.
    #[must_use]
    pub fn max_frame_bytes(&self) -> usize {
        match self {
            Self::Punktfunk1 { config, .. } => config.max_frame_bytes,
            Self::GameStream(config) => config.limits().max_frame_bytes,
        }
    }

    /// Whether its client speaks of damaged blocks, and not of loss in ppm.
    #[must_use]
    pub const fn says_blocks(&self) -> bool {
        matches!(self, Self::GameStream(_))
    }

    /// Number of the first frame.
    #[must_use]
    pub const fn first_frame(&self) -> u32 {
        match self {
            Self::Punktfunk1 { .. } => 0,
            Self::GameStream(_) => crate::wire::gamestream::FIRST_FRAME,
        }
    }
}
