//! FEC, crypto and packets for Python: for tests and tools. Sessions do this themselves, without the interpreter.

use std::collections::BTreeMap;

use punktfunk_core::crypto::{self, Direction, Opener, Sealer};
use punktfunk_core::fec::{self, Scheme, kernels};
use punktfunk_core::packetize::gamestream::{GameStreamPacketizer, blocks};
use punktfunk_core::packetize::punktfunk1::{EmissionOrder, Punktfunk1Packetizer};
use punktfunk_core::packetize::{Outgoing, Packetizer, SubmitError};
use punktfunk_core::wire::gamestream::{SHORT_HEADER_BYTES, VideoOpener};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{CryptoError, FecError, InvalidConfigError};
use crate::session::{AnyConfig, exactly, invalid};

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("ABI_VERSION", punktfunk_core::abi::ABI_VERSION)?;
    m.add_function(wrap_pyfunction!(fec_encode, m)?)?;
    m.add_function(wrap_pyfunction!(fec_decode, m)?)?;
    m.add_function(wrap_pyfunction!(fec_kernel, m)?)?;
    m.add_function(wrap_pyfunction!(geometry, m)?)?;
    m.add_function(wrap_pyfunction!(recovery_shards, m)?)?;
    m.add_function(wrap_pyfunction!(seal, m)?)?;
    m.add_function(wrap_pyfunction!(open_sealed, m)?)?;
    m.add_function(wrap_pyfunction!(open_encrypted_video, m)?)?;
    m.add_function(wrap_pyfunction!(packetize, m)?)
}

fn scheme_of(name: &str) -> PyResult<Scheme> {
    Scheme::from_name(name)
        .ok_or_else(|| FecError::new_err(format!("no FEC scheme {name:?}; gf8 or gf16")))
}

fn fec_error(error: fec::FecError) -> PyErr {
    FecError::new_err(error.to_string())
}

fn crypto_error(error: crypto::CryptoError) -> PyErr {
    CryptoError::new_err(error.to_string())
}

/// One length for all shards, 0 without any.
fn common_length<'a>(mut shards: impl Iterator<Item = &'a PyBuffer<u8>>) -> PyResult<usize> {
    let Some(first) = shards.next() else {
        return Ok(0);
    };
    let length = first.len_bytes();
    match shards.find(|shard| shard.len_bytes() != length) {
        Some(other) => Err(FecError::new_err(format!(
            "shards of one block have {length} and {} bytes",
            other.len_bytes()
        ))),
        None => Ok(length),
    }
}

#[pyfunction]
fn fec_encode<'py>(
    py: Python<'py>,
    scheme: &str,
    shards: Vec<PyBuffer<u8>>,
    recovery: usize,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let codec = fec::codec(scheme_of(scheme)?);
    let (k, m) = (shards.len(), recovery);
    let shard_bytes = common_length(shards.iter())?;
    if !codec.supports(k, m) {
        return Err(fec_error(fec::FecError::Geometry {
            data: k,
            recovery: m,
        }));
    }
    if shard_bytes == 0 {
        return Err(fec_error(fec::FecError::ShardBytes(0)));
    }
    let mut data = vec![0; k * shard_bytes];
    for (room, shard) in data.chunks_exact_mut(shard_bytes).zip(&shards) {
        shard.copy_to_slice(py, room)?;
    }
    let mut parity = vec![0; m * shard_bytes];
    py.detach(|| codec.encode(k, m, shard_bytes, &data, &mut parity))
        .map_err(fec_error)?;
    Ok(parity
        .chunks_exact(shard_bytes)
        .map(|shard| PyBytes::new(py, shard))
        .collect())
}

#[pyfunction]
fn fec_decode<'py>(
    py: Python<'py>,
    scheme: &str,
    data_shards: usize,
    recovery_shards: usize,
    received: BTreeMap<usize, PyBuffer<u8>>,
) -> PyResult<BTreeMap<usize, Bound<'py, PyBytes>>> {
    let codec = fec::codec(scheme_of(scheme)?);
    let (k, m) = (data_shards, recovery_shards);
    if !codec.supports(k, m) {
        return Err(fec_error(fec::FecError::Geometry {
            data: k,
            recovery: m,
        }));
    }
    if received.len() < k {
        return Err(fec_error(fec::FecError::TooFewShards {
            need: k,
            have: received.len(),
        }));
    }
    let shard_bytes = common_length(received.values())?;
    if let Some((&index, _)) = received.iter().next_back()
        && index >= k + m
    {
        return Err(fec_error(fec::FecError::Recovery(index - k)));
    }
    let mut shards = vec![0; (k + m) * shard_bytes];
    let mut present = vec![false; k + m];
    for (&index, shard) in &received {
        shard.copy_to_slice(py, &mut shards[index * shard_bytes..][..shard_bytes])?;
        present[index] = true;
    }
    py.detach(|| codec.reconstruct(k, m, shard_bytes, &mut shards, &mut present))
        .map_err(fec_error)?;
    Ok((0..k)
        .filter(|index| !received.contains_key(index))
        .map(|index| {
            let shard = &shards[index * shard_bytes..][..shard_bytes];
            (index, PyBytes::new(py, shard))
        })
        .collect())
}

#[pyfunction]
fn fec_kernel() -> &'static str {
    kernels::best().name
}

/// The blocks `(k, m)` in which a host of these parameters sends an access unit.
#[pyfunction]
fn geometry(config: AnyConfig<'_>, frame_bytes: usize) -> PyResult<Vec<(usize, usize)>> {
    let config = match config {
        AnyConfig::Punktfunk1(config) => config,
        AnyConfig::GameStream(config) => {
            let config = &config.inner;
            let bytes = frame_bytes.saturating_add(SHORT_HEADER_BYTES);
            let packets = bytes.div_ceil(config.limits().payload_bytes());
            let blocks = blocks(packets, config.fec_percent, config.min_fec).map_err(invalid)?;
            return Ok(blocks.map(|block| (block.k, block.m)).collect());
        }
    };
    let limits = config.inner.limits();
    if frame_bytes > limits.max_frame_bytes {
        let limit = limits.max_frame_bytes;
        let error = SubmitError::TooLong {
            bytes: frame_bytes,
            limit,
        };
        return Err(InvalidConfigError::new_err(error.to_string()));
    }
    let geometry = limits.geometry(frame_bytes, config.inner.fec_percent);
    Ok(geometry.blocks().map(|block| (block.k, block.m)).collect())
}

/// The recovery shards of a block, rounded up.
#[pyfunction]
fn recovery_shards(data_shards: usize, fec_percent: u32) -> usize {
    punktfunk_core::geometry::recovery_shards(data_shards, fec_percent)
}

fn direction(from_host: bool) -> Direction {
    if from_host {
        Direction::HostToClient
    } else {
        Direction::ClientToHost
    }
}

#[pyfunction]
fn seal<'py>(
    py: Python<'py>,
    key: PyBuffer<u8>,
    salt: PyBuffer<u8>,
    from_host: bool,
    seq: u64,
    plaintext: PyBuffer<u8>,
) -> PyResult<Bound<'py, PyBytes>> {
    let (key, salt) = (exactly(py, "key", &key)?, exactly(py, "salt", &salt)?);
    let mut packet = vec![0; crypto::SEQ_BYTES];
    packet.extend(plaintext.to_vec(py)?);
    packet.resize(packet.len() + crypto::TAG_BYTES, 0);
    Sealer::new(key, salt, direction(from_host))
        .seal_in_place(seq, &mut packet)
        .map_err(crypto_error)?;
    Ok(PyBytes::new(py, &packet))
}

#[pyfunction]
fn open_sealed<'py>(
    py: Python<'py>,
    key: PyBuffer<u8>,
    salt: PyBuffer<u8>,
    from_host: bool,
    packet: PyBuffer<u8>,
) -> PyResult<Bound<'py, PyBytes>> {
    let (key, salt) = (exactly(py, "key", &key)?, exactly(py, "salt", &salt)?);
    let mut packet = packet.to_vec(py)?;
    let (_, plain) = Opener::new(key, salt, direction(from_host))
        .open_in_place(&mut packet)
        .map_err(crypto_error)?;
    Ok(PyBytes::new(py, plain))
}

/// The plain packet in an encrypted one of GameStream's video (gamestream section 7.8), replays not looked for.
#[pyfunction]
fn open_encrypted_video<'py>(
    py: Python<'py>,
    key: PyBuffer<u8>,
    packet: PyBuffer<u8>,
) -> PyResult<Bound<'py, PyBytes>> {
    let key = exactly(py, "key", &key)?;
    let mut packet = packet.to_vec(py)?;
    let (_, plain) = VideoOpener::new(key)
        .open_in_place(&mut packet)
        .map_err(crypto_error)?;
    Ok(PyBytes::new(py, plain))
}

/// The packets as they go on the wire: sealed, with sequence numbers from `stream_seq` on, where the
/// configuration has a key. `age_ns` is the time since the capture, where it is known.
#[pyfunction]
#[pyo3(signature = (config, access_unit, pts_ns, flags, frame_index, stream_seq, *, age_ns = None))]
#[allow(clippy::too_many_arguments)] // what a frame is sent with
fn packetize<'py>(
    py: Python<'py>,
    config: AnyConfig<'_>,
    access_unit: PyBuffer<u8>,
    pts_ns: u64,
    flags: u32,
    frame_index: u32,
    stream_seq: u32,
    age_ns: Option<u64>,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let access_unit = access_unit.to_vec(py)?;
    let (mut packetizer, percent): (Box<dyn Packetizer>, u32) = match &config {
        AnyConfig::Punktfunk1(config) => {
            let config = config.inner.clone();
            let percent = config.fec_percent;
            let mut wire = Punktfunk1Packetizer::new(config, EmissionOrder::default(), None)
                .map_err(invalid)?;
            wire.set_next(frame_index, stream_seq, u64::from(stream_seq));
            (Box::new(wire), percent)
        }
        AnyConfig::GameStream(config) => {
            let config = config.inner.clone();
            let percent = config.fec_percent;
            let mut wire = GameStreamPacketizer::new(config).map_err(invalid)?;
            wire.set_next(frame_index, stream_seq);
            (Box::new(wire), percent)
        }
    };
    let unit = Outgoing {
        data: &access_unit,
        pts_ns,
        flags,
        age_ns,
    };
    let frame = packetizer.packetize(unit, percent).map_err(invalid)?;
    Ok(frame
        .buffer
        .chunks_exact(frame.stride)
        .map(|packet| PyBytes::new(py, packet))
        .collect())
}
