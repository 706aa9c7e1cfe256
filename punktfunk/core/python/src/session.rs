//! Stream parameters for Python.

use punktfunk_core::config::Receiving;
use punktfunk_core::fec::Scheme;
use punktfunk_core::session::{self, ClientSession, HostSession, HostSettings};
use punktfunk_core::wire::gamestream;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::InvalidConfigError;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("FLAG_PICTURE", session::FLAG_PICTURE)?;
    m.add("FLAG_KEY", session::FLAG_KEY)?;
    m.add("FLAG_PROBE", session::FLAG_PROBE)?;
    m.add("FLAG_RECOVERY_POINT", session::FLAG_RECOVERY_POINT)?;
    m.add("FLAG_RECOVERY_ANCHOR", session::FLAG_RECOVERY_ANCHOR)?;
    m.add_class::<StreamConfig>()?;
    m.add_class::<GameStreamConfig>()
}

/// What a stream is made of, on either wire.
#[derive(FromPyObject)]
pub(crate) enum AnyConfig<'py> {
    Punktfunk1(PyRef<'py, StreamConfig>),
    GameStream(PyRef<'py, GameStreamConfig>),
}

impl AnyConfig<'_> {
    /// A host's session of this wire.
    pub(crate) fn host(&self, settings: &HostSettings) -> PyResult<HostSession> {
        match self {
            Self::Punktfunk1(config) => {
                HostSession::new(config.inner.clone(), settings).map_err(invalid)
            }
            Self::GameStream(config) => {
                HostSession::gamestream(config.inner.clone(), settings).map_err(invalid)
            }
        }
    }

    /// A client's session of this wire.
    pub(crate) fn client(&self, record_frames: bool) -> PyResult<ClientSession> {
        match self {
            Self::Punktfunk1(config) => {
                ClientSession::new(config.inner.clone(), record_frames).map_err(invalid)
            }
            Self::GameStream(config) => {
                ClientSession::gamestream(&config.inner, record_frames).map_err(invalid)
            }
        }
    }
}

pub(crate) fn invalid(error: impl std::error::Error) -> PyErr {
    InvalidConfigError::new_err(error.to_string())
}

/// What both ends of a stream agree on, and the limits of the receiving one.
///
/// `scheme`, `fec_percent`, `max_block_shards`, `shard_bytes`, `key` (16 bytes, or None for plain packets) and `salt`
/// (4 bytes) are the Welcome's (punktfunk/1 section 2.1). The others are this receiver's own: `max_frame_bytes` (at most
/// 64 MiB), `hold_undecodable` (keep frames back whose references are missing until a key frame), `reorder_window_ns`
/// (longest wait of a complete frame for an earlier one), `loss_window_frames` and `loss_window_ns` (a frame that far
/// behind the newest is given up), `memory_cap_bytes` (unfinished and untaken frames together).
///
/// Raises InvalidConfigError for values outside the limits of punktfunk/1 section 2.6.
#[pyclass(module = "punktfunk.core._core", frozen)]
pub(crate) struct StreamConfig {
    pub(crate) inner: session::StreamConfig,
}

/// A buffer of exactly `N` bytes.
pub(crate) fn exactly<const N: usize>(
    py: Python<'_>,
    name: &str,
    buffer: &PyBuffer<u8>,
) -> PyResult<[u8; N]> {
    let bytes = buffer.to_vec(py)?;
    bytes.try_into().map_err(|b: Vec<u8>| {
        PyValueError::new_err(format!("{name} must have {N} bytes, not {}", b.len()))
    })
}

#[pymethods]
impl StreamConfig {
    #[new]
    #[pyo3(signature = (*, scheme = "gf16", fec_percent = 20, max_block_shards = 4096, shard_bytes = 1200, key = None,
        salt = None, max_frame_bytes = 67_108_864, hold_undecodable = true, reorder_window_ns = 20_000_000,
        loss_window_frames = 64, loss_window_ns = 120_000_000, memory_cap_bytes = 268_435_456),
        text_signature = "(*, scheme='gf16', fec_percent=20, max_block_shards=4096, shard_bytes=1200, key=None, \
            salt=b'pkf1', max_frame_bytes=67108864, hold_undecodable=True, reorder_window_ns=20000000, \
            loss_window_frames=64, loss_window_ns=120000000, memory_cap_bytes=268435456)")]
    #[allow(clippy::too_many_arguments)] // keyword-only configuration
    fn new(
        py: Python<'_>,
        scheme: &str,
        fec_percent: u32,
        max_block_shards: usize,
        shard_bytes: usize,
        key: Option<PyBuffer<u8>>,
        salt: Option<PyBuffer<u8>>,
        max_frame_bytes: usize,
        hold_undecodable: bool,
        reorder_window_ns: u64,
        loss_window_frames: u32,
        loss_window_ns: u64,
        memory_cap_bytes: usize,
    ) -> PyResult<Self> {
        let scheme = Scheme::from_name(scheme).ok_or_else(|| {
            InvalidConfigError::new_err(format!("no FEC scheme {scheme:?}; gf8 or gf16"))
        })?;
        let inner = session::StreamConfig {
            scheme,
            fec_percent,
            max_block_shards,
            shard_bytes,
            key: key.map(|k| exactly(py, "key", &k)).transpose()?,
            salt: salt.map_or(Ok(*b"pkf1"), |s| exactly(py, "salt", &s))?,
            max_frame_bytes,
            hold_undecodable,
            reorder_window_ns,
            loss_window_frames,
            loss_window_ns,
            memory_cap_bytes,
        };
        inner.validate().map_err(invalid)?;
        Ok(Self { inner })
    }

    #[getter]
    fn scheme(&self) -> &'static str {
        self.inner.scheme.name()
    }

    #[getter]
    fn fec_percent(&self) -> u32 {
        self.inner.fec_percent
    }

    #[getter]
    fn shard_bytes(&self) -> usize {
        self.inner.shard_bytes
    }

    #[getter]
    fn encrypted(&self) -> bool {
        self.inner.key.is_some()
    }
}

/// What both ends of a GameStream video stream agree on, and the limits of the receiving one.
///
/// `packet_size` is the announced one (`x-nv-video[0].packetSize`), `min_fec` the fewest recovery packets of a block that the
/// client asks for, `key` (16 bytes, or None for plain packets) the session's `rikey` where video is encrypted, and `codec`
/// what is coded. `origin_ns` is the `pts_ns` that has RTP timestamp 0. The others are those of StreamConfig.
///
/// Raises InvalidConfigError for values that no client announces (gamestream section 7.1).
#[pyclass(module = "punktfunk.core._core", frozen)]
pub(crate) struct GameStreamConfig {
    pub(crate) inner: gamestream::GameStreamConfig,
}

#[pymethods]
impl GameStreamConfig {
    #[new]
    #[pyo3(signature = (*, packet_size, fec_percent = 20, min_fec = 2, key = None, codec = "h264", origin_ns = 0,
        hold_undecodable = true, reorder_window_ns = 20_000_000, loss_window_frames = 64, loss_window_ns = 120_000_000,
        memory_cap_bytes = 268_435_456))]
    #[allow(clippy::too_many_arguments)] // keyword-only configuration
    fn new(
        py: Python<'_>,
        packet_size: usize,
        fec_percent: u32,
        min_fec: u8,
        key: Option<PyBuffer<u8>>,
        codec: &str,
        origin_ns: u64,
        hold_undecodable: bool,
        reorder_window_ns: u64,
        loss_window_frames: u32,
        loss_window_ns: u64,
        memory_cap_bytes: usize,
    ) -> PyResult<Self> {
        let codec = gamestream::Codec::from_name(codec).ok_or_else(|| {
            InvalidConfigError::new_err(format!("no codec {codec:?}; h264, hevc or av1"))
        })?;
        let inner = gamestream::GameStreamConfig {
            packet_size,
            fec_percent,
            min_fec,
            key: key.map(|k| exactly(py, "key", &k)).transpose()?,
            codec,
            origin_ns,
            receiving: Receiving {
                hold_undecodable,
                reorder_window_ns,
                loss_window_frames,
                loss_window_ns,
                memory_cap_bytes,
            },
        };
        inner.validate().map_err(invalid)?;
        Ok(Self { inner })
    }

    #[getter]
    fn packet_size(&self) -> usize {
        self.inner.packet_size
    }

    #[getter]
    fn payload_bytes(&self) -> usize {
        self.inner.limits().payload_bytes()
    }

    #[getter]
    fn encrypted(&self) -> bool {
        self.inner.key.is_some()
    }
}
