//! GameStream's sound for Python.

use punktfunk_core::audio::{AudioCipher, AudioReceiver, AudioSender};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::session::{exactly, invalid};

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<GameStreamAudio>()?;
    m.add_class::<GameStreamAudioReceiver>()
}

fn cipher(
    py: Python<'_>,
    key: Option<PyBuffer<u8>>,
    rikeyid: i32,
) -> PyResult<Option<AudioCipher>> {
    let key = key.map(|k| exactly(py, "key", &k)).transpose()?;
    Ok(key.map(|key| AudioCipher::new(key, rikeyid)))
}

/// Number, encrypt and protect the packets of a stream of sound (gamestream sections 9.1 and 9.2).
///
/// `key` is the session's `rikey` where sound is encrypted, `rikeyid` signed, `packet_ms` 5 or 10.
///
/// Raises InvalidConfigError for another duration.
#[pyclass(module = "punktfunk.core._core")]
struct GameStreamAudio {
    inner: AudioSender,
}

#[pymethods]
impl GameStreamAudio {
    #[new]
    #[pyo3(signature = (key, rikeyid, packet_ms))]
    fn new(
        py: Python<'_>,
        key: Option<PyBuffer<u8>>,
        rikeyid: i32,
        packet_ms: u32,
    ) -> PyResult<Self> {
        let inner = AudioSender::new(cipher(py, key, rikeyid)?, packet_ms).map_err(invalid)?;
        Ok(Self { inner })
    }

    /// Longest Opus packet of the stream.
    #[getter]
    fn max_opus_bytes(&self) -> usize {
        self.inner.max_opus_bytes()
    }

    /// Return the datagrams of the next Opus packet: its own, and behind every fourth two of recovery.
    ///
    /// Raises InvalidConfigError for one of another length than those before it, or too long; no number is used up.
    fn packet<'py>(
        &mut self,
        py: Python<'py>,
        opus: PyBuffer<u8>,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let packets = self.inner.packet(&opus.to_vec(py)?).map_err(invalid)?;
        Ok(packets.iter().map(|p| PyBytes::new(py, p)).collect())
    }
}

/// One Opus packet in its turn: number, packets lost before it, whether recovery packets gave it back, and its bytes.
type Received<'py> = (u64, u64, bool, Bound<'py, PyBytes>);

/// Put the packets of a stream of sound in order, recover and decrypt them.
///
/// A missing packet is waited for until one of the block after the next comes.
#[pyclass(module = "punktfunk.core._core")]
struct GameStreamAudioReceiver {
    inner: AudioReceiver,
}

impl GameStreamAudioReceiver {
    fn take<'py>(&mut self, py: Python<'py>) -> Vec<Received<'py>> {
        std::iter::from_fn(|| self.inner.poll())
            .map(|s| (s.sequence, s.gap, s.recovered, PyBytes::new(py, &s.data)))
            .collect()
    }
}

#[pymethods]
impl GameStreamAudioReceiver {
    #[new]
    #[pyo3(signature = (key = None, rikeyid = 0))]
    fn new(py: Python<'_>, key: Option<PyBuffer<u8>>, rikeyid: i32) -> PyResult<Self> {
        let inner = AudioReceiver::new(cipher(py, key, rikeyid)?);
        Ok(Self { inner })
    }

    /// Take a datagram; return the Opus packets that are in turn now: (sequence, lost before it, recovered, data).
    fn receive<'py>(
        &mut self,
        py: Python<'py>,
        datagram: PyBuffer<u8>,
    ) -> PyResult<Vec<Received<'py>>> {
        self.inner.receive(&datagram.to_vec(py)?);
        Ok(self.take(py))
    }

    /// End the turn of everything that is still waited for; return it as `receive` does.
    fn settle<'py>(&mut self, py: Python<'py>) -> Vec<Received<'py>> {
        self.inner.settle();
        self.take(py)
    }

    /// Return the counters by name: received = data + fec + rejected + late + duplicate.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in self.inner.stats().entries() {
            dict.set_item(name, value)?;
        }
        Ok(dict)
    }
}
