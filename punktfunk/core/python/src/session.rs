//! Stream parameters for Python.

use punktfunk_core::fec::Scheme;
use punktfunk_core::session;
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
    m.add_class::<StreamConfig>()
}

/// What both ends of a stream agree on, and the limits of the receiving one.
///
/// `scheme`, `fec_percent`, `max_block_shards`, `shard_bytes`, `key` (16 bytes, or None for plain packets) and `salt`
/// (4 bytes) are the Welcome's (punktfunk/1 section 2.1). The others are this receiver's own: `max_frame_bytes` (at most
/// 64 MiB), `hold_undecodable` (keep frames back whose references are missing until a key frame), `reorder_window_ns`
/// (longest wait of a complete frame for an earlier one), `loss_window_frames` and `loss_window_ns` (a frame that far
/// behind the newest is given up), `memory_cap_bytes` (unfinished and untaken frames together).
///
/// Raises InvalidConfigError for values outside the limits of section 2.6.
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
        inner
            .validate()
            .map_err(|e| InvalidConfigError::new_err(e.to_string()))?;
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
