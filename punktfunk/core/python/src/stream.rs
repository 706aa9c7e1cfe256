//! Streams for Python. Every call that may wait, and every call that takes a lock of the stream's thread, runs
//! without the GIL.

use std::time::Duration;

use punktfunk_core::pacing::PacerConfig;

use punktfunk_core::session::BlockReport;
use punktfunk_core::session::host::{HostSettings, SubmitStamps};
use punktfunk_core::stats::{ClientRecord, Column, HostRecord};
use punktfunk_core::stream::{self, ClientOptions, HostError, HostOptions, NextFrame};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyOSError, PyValueError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::errors::{CryptoError, FecError, InvalidConfigError, SessionClosedError};
use crate::frame::ReceivedFrame;
use crate::session::AnyConfig;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<HostStream>()?;
    m.add_class::<ClientStream>()?;
    m.add_class::<ReceivedFrame>()
}

/// Python's signal handlers run at least this often while a call waits.
const SIGNAL_CHECK: Duration = Duration::from_millis(100);

fn socket_error(error: &std::io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(number) => PyOSError::new_err((number, error.to_string())),
        None => PyValueError::new_err(error.to_string()),
    }
}

fn closed() -> PyErr {
    SessionClosedError::new_err("the stream is closed")
}

fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|_| {
        PyValueError::new_err(format!(
            "{name} must be a finite number of seconds from 0, not {value}"
        ))
    })
}

pub(crate) fn dict<'py>(
    py: Python<'py>,
    stats: Vec<(String, u64)>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in stats {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}

pub(crate) fn columns<'py>(py: Python<'py>, columns: Vec<Column>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, values) in columns {
        let bytes: Vec<u8> = values.into_iter().flat_map(i64::to_le_bytes).collect();
        dict.set_item(name, PyBytes::new(py, &bytes))?;
    }
    Ok(dict)
}

/// Call `attempt` without the GIL in slices until it settles or `timeout` is over, looking for signals in between.
fn wait<T: Send>(
    py: Python<'_>,
    timeout: Duration,
    attempt: impl Fn(Duration) -> Option<T> + Sync,
) -> PyResult<Option<T>> {
    let mut left = timeout;
    loop {
        let slice = left.min(SIGNAL_CHECK);
        if let Some(settled) = py.detach(|| attempt(slice)) {
            return Ok(Some(settled));
        }
        left -= slice;
        if left.is_zero() {
            return Ok(None);
        }
        py.check_signals()?;
    }
}

/// Send access units over a connected UDP socket, paced: at once from the calling thread, the rest from its own.
///
/// Takes a duplicate of descriptor `fd`; the caller may close its own. A frame leaves as a burst of at most
/// `burst_packets`, then at max(`packets_per_ms`, `rate_factor` times the session's packet rate at `rate_kbps` with FEC).
/// Where the latter is more, as much as 300 us of it may leave at once.
/// At most `queue_frames` frames wait; one more drops the oldest, which asks for a key frame. `realtime` lets the thread
/// preempt normal ones (SCHED_FIFO) where this process may; the statistic of that name says whether it does. Where it does
/// not, the thread asks for a slice of 0.1 ms; the statistic `slice_ns` is what the kernel keeps of that. On GameStream
/// pacing never exceeds what leaves every millisecond below 100 packets.
///
/// Raises InvalidConfigError for invalid pacing, OSError or ValueError when `fd` is no UDP socket.
#[pyclass(module = "punktfunk.core._core", frozen)]
struct HostStream {
    inner: stream::HostStream,
}

#[pymethods]
impl HostStream {
    #[new]
    #[pyo3(signature = (config, fd, *, rate_kbps, queue_frames = 8, burst_packets = 32, packets_per_ms = 100,
        rate_factor = 1.25, gso = true, send_buffer_bytes = 8_388_608, record_frames = true, realtime = false))]
    #[allow(clippy::too_many_arguments)] // keyword-only configuration
    fn new(
        config: AnyConfig<'_>,
        fd: i32,
        rate_kbps: u32,
        queue_frames: usize,
        burst_packets: u32,
        packets_per_ms: u32,
        rate_factor: f64,
        gso: bool,
        send_buffer_bytes: usize,
        record_frames: bool,
        realtime: bool,
    ) -> PyResult<Self> {
        if burst_packets == 0 || packets_per_ms == 0 || !(0.1..=1000.0).contains(&rate_factor) {
            return Err(InvalidConfigError::new_err(
                "pacing wants burst_packets and packets_per_ms of at least 1 and rate_factor 0.1..=1000",
            ));
        }
        let settings = HostSettings {
            rate_kbps,
            queue_frames,
            pacer: PacerConfig {
                burst_packets,
                packets_per_ms,
                rate_factor,
                ..PacerConfig::default()
            },
            record_frames,
        };
        let options = HostOptions {
            gso,
            send_buffer_bytes,
            realtime,
        };
        let session = config.host(&settings)?;
        let inner =
            stream::HostStream::start(session, fd, options).map_err(|e| socket_error(&e))?;
        Ok(Self { inner })
    }

    /// Seal an access unit, send what may leave at once and queue the rest; return its index on the wire.
    ///
    /// Runs without the GIL and never waits for the network: a full queue drops its oldest frame. `pts_ns` is what goes on
    /// the wire; the other stamps (ns of CLOCK_MONOTONIC, -1 = no such stage) go into the frame's record.
    ///
    /// Raises SessionClosedError after `close`, InvalidConfigError for more than the wire or `max_frame_bytes` can carry.
    #[pyo3(signature = (access_unit, pts_ns, flags, *, captured_ns = -1, converted_ns = -1, encode_begin_ns = -1,
        encode_end_ns = -1),
        text_signature = "($self, access_unit, pts_ns, flags, *, captured_ns=-1, converted_ns=-1, \
            encode_begin_ns=-1, encode_end_ns=-1)")]
    #[allow(clippy::too_many_arguments)] // one stamp a stage
    fn submit(
        &self,
        py: Python<'_>,
        access_unit: PyBuffer<u8>,
        pts_ns: u64,
        flags: u32,
        captured_ns: i64,
        converted_ns: i64,
        encode_begin_ns: i64,
        encode_end_ns: i64,
    ) -> PyResult<u32> {
        if !access_unit.is_c_contiguous() {
            return Err(PyBufferError::new_err("access_unit must be contiguous"));
        }
        // SAFETY: the buffer is contiguous and cannot be freed or resized while `access_unit` holds its export. A
        // caller that writes to it meanwhile sends torn bytes, as with any buffer that is handed to a system call.
        let bytes = unsafe {
            let pointer = access_unit.buf_ptr().cast::<u8>().cast_const();
            let length = access_unit.len_bytes();
            if length == 0 {
                &[]
            } else {
                std::slice::from_raw_parts(pointer, length)
            }
        };
        let stamps = SubmitStamps {
            captured_ns,
            converted_ns,
            encode_begin_ns,
            encode_end_ns,
        };
        py.detach(|| self.inner.submit(bytes, pts_ns, flags, stamps))
            .map_err(|e| match e {
                HostError::Closed(_) => closed(),
                HostError::Submit(e) => submit_error(&e),
            })
    }

    /// Change the share of recovery shards from the next frame on; a block stays within what receivers accept.
    fn set_fec_percent(&self, percent: u32) {
        self.inner.session().set_fec_percent(percent);
    }

    /// Change the media rate in kbit/s that the pacer stays above.
    fn set_rate(&self, rate_kbps: u32) {
        self.inner.session().set_rate(rate_kbps);
    }

    /// Return True once after a drop from the queue that no key frame has repaired.
    fn take_recovery_request(&self) -> bool {
        self.inner.session().take_recovery_request()
    }

    /// Return the refusals (ECONNREFUSED) since the last call, None without: how many, when the first and the last came.
    ///
    /// Times are ns of CLOCK_MONOTONIC. The kernel keeps one at a time, so there are fewer than datagrams sent in vain.
    fn take_refusals(&self, py: Python<'_>) -> Option<(u64, u64, u64)> {
        let refusals = py.detach(|| self.inner.take_refusals());
        (refusals.count > 0).then_some((refusals.count, refusals.first_ns, refusals.last_ns))
    }

    /// Return the counters by name; the sums that must balance are in the package's documentation.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, py.detach(|| self.inner.stats()))
    }

    /// Return the records of frames done since the last call: column name to little-endian int64 array, -1 = null.
    fn take_records<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let rows = py.detach(|| self.inner.session().take_records());
        columns(py, HostRecord::columns(&rows))
    }

    /// Wait up to `timeout` seconds until everything submitted has left; return whether it has.
    fn flush(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let timeout = seconds("timeout", timeout)?;
        let flushed = wait(py, timeout, |slice| self.inner.flush(slice).then_some(()))?;
        Ok(flushed.is_some())
    }

    /// End the thread; what has not left is dropped and counted. Statistics and records stay readable.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.inner.close());
    }
}

/// The fields of gamestream section 8.3.
pub(crate) type BlockReportTuple = (u32, u16, u16, u16, u16, u16, u16, u16, u8, u8, u8);

pub(crate) fn block_report(report: &BlockReport) -> BlockReportTuple {
    (
        report.frame,
        report.highest,
        report.next,
        report.missing,
        report.data,
        report.recovery,
        report.data_received,
        report.recovery_received,
        report.percent,
        report.block,
        report.blocks,
    )
}

fn submit_error(error: &punktfunk_core::packetize::SubmitError) -> PyErr {
    use punktfunk_core::packetize::SubmitError;
    let text = error.to_string();
    match error {
        SubmitError::TooLong { .. }
        | SubmitError::TooManyPackets { .. }
        | SubmitError::NoFiller => InvalidConfigError::new_err(text),
        SubmitError::Fec { .. } => FecError::new_err(text),
        SubmitError::Crypto(_) => CryptoError::new_err(text),
    }
}

/// Receive access units from a connected UDP socket on a thread of its own.
///
/// Takes a duplicate of descriptor `fd`; the caller may close its own. At most `queue_frames` frames wait for
/// `next_frame`; one more drops the oldest and what cannot be decoded without it, and asks for a key frame. `realtime`
/// is as for HostStream; `report_blocks` keeps what `take_block_reports` returns.
///
/// Raises OSError or ValueError when `fd` is no UDP socket.
#[pyclass(module = "punktfunk.core._core", frozen)]
struct ClientStream {
    inner: stream::ClientStream,
}

#[pymethods]
impl ClientStream {
    #[new]
    #[pyo3(signature = (config, fd, *, queue_frames = 16, gro = true, receive_buffer_bytes = 33_554_432,
        record_frames = true, realtime = false, report_blocks = false))]
    #[allow(clippy::too_many_arguments)] // keyword-only configuration
    fn new(
        config: AnyConfig<'_>,
        fd: i32,
        queue_frames: usize,
        gro: bool,
        receive_buffer_bytes: usize,
        record_frames: bool,
        realtime: bool,
        report_blocks: bool,
    ) -> PyResult<Self> {
        let options = ClientOptions {
            queue_frames,
            gro,
            receive_buffer_bytes,
            record_frames,
            realtime,
        };
        let mut session = config.client(record_frames)?;
        if report_blocks {
            session.report_blocks();
        }
        let inner = stream::ClientStream::with_session(session, fd, options)
            .map_err(|e| socket_error(&e))?;
        Ok(Self { inner })
    }

    /// Return the next frame in turn, or None after `timeout` seconds.
    ///
    /// Runs without the GIL. Raises SessionClosedError when the stream is closed and nothing is left.
    fn next_frame(&self, py: Python<'_>, timeout: f64) -> PyResult<Option<ReceivedFrame>> {
        let timeout = seconds("timeout", timeout)?;
        let settled = wait(py, timeout, |slice| match self.inner.next_frame(slice) {
            Ok(NextFrame::Frame(frame)) => Some(Ok(frame)),
            Ok(NextFrame::TimedOut) => None,
            Err(stream::Closed) => Some(Err(closed)),
        })?;
        match settled {
            None => Ok(None),
            Some(Ok(frame)) => Ok(Some(ReceivedFrame { frame })),
            Some(Err(error)) => Err(error()),
        }
    }

    /// Return True when a key frame should be asked for.
    ///
    /// Once for each break of the references until a key frame arrives, and again after `retry` seconds without one.
    #[pyo3(signature = (retry = None))]
    fn take_recovery_request(&self, py: Python<'_>, retry: Option<f64>) -> PyResult<bool> {
        let retry = retry.map(|r| seconds("retry", r)).transpose()?;
        Ok(py.detach(|| self.inner.take_recovery_request(retry)))
    }

    /// Return the loss report of punktfunk/1 section 2.4 over the time since the last call: 0..=1000000.
    fn take_loss_report_ppm(&self, py: Python<'_>) -> u32 {
        py.detach(|| self.inner.take_loss_report_ppm())
    }

    /// Return what came of the blocks that FEC rebuilt, or that were lost with their frame, since the last call.
    ///
    /// Each is a tuple of the fields of gamestream section 8.3 in their order. At most 8 in a tenth of a second; none
    /// unless `report_blocks` was asked for, and none on punktfunk/1.
    fn take_block_reports(&self, py: Python<'_>) -> Vec<BlockReportTuple> {
        let reports = py.detach(|| self.inner.take_block_reports());
        reports.iter().map(block_report).collect()
    }

    /// Note how much the host sent to a stream that is closed, so that what was lost at the very end is counted.
    fn settle(&self, py: Python<'_>, frames: u64, packets: u64) {
        py.detach(|| self.inner.settle(frames, packets));
    }

    /// Return when the last packet came that the host has sealed, ns of CLOCK_MONOTONIC; None before the first.
    fn last_packet_ns(&self) -> Option<u64> {
        self.inner.last_packet_ns()
    }

    /// Return the counters by name; the sums that must balance are in the package's documentation.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, py.detach(|| self.inner.stats()))
    }

    /// Return the records of frames that left the loss window since the last call: column name to little-endian
    /// int64 array, -1 = null. Closing the stream completes them.
    fn take_records<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let rows = py.detach(|| self.inner.take_records());
        columns(py, ClientRecord::columns(&rows))
    }

    /// End the thread and complete statistics and records, which stay readable. Frames in turn can still be taken.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.inner.close());
    }
}
