//! A client's session for Python, fed by its caller: what a receiver makes of captured datagrams.

use std::sync::{Mutex, MutexGuard, PoisonError};

use punktfunk_core::reassemble::Placed;
use punktfunk_core::session::ClientSession;
use punktfunk_core::session::client::Receipt;
use punktfunk_core::stats::ClientRecord;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::session::AnyConfig;
use crate::stream::{columns, dict};

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<ClientReplay>()
}

/// A client's session without socket, thread or clock: datagrams in with their times, what became of each out.
///
/// It is the state machine that receives live, so that a capture is judged by the rules that the receiver has. Frames that it
/// releases are dropped. Times are ns of any clock; one that goes back counts as the latest so far. `first` are the numbers of
/// frame and packet with which the capture begins, where it is not the stream's own beginning.
///
/// Raises InvalidConfigError as ClientStream does.
#[pyclass(module = "punktfunk.core._core", frozen)]
pub(crate) struct ClientReplay {
    inner: Mutex<Inner>,
}

struct Inner {
    session: ClientSession,
    now_ns: u64,
}

impl Inner {
    /// Let time pass, event by event, as a receiver's thread would.
    fn advance_to(&mut self, now_ns: u64) {
        while let Some(due_ns) = self.session.next_timeout()
            && due_ns < now_ns
        {
            self.now_ns = self.now_ns.max(due_ns);
            self.session.advance(self.now_ns);
            self.drop_frames();
        }
        self.now_ns = self.now_ns.max(now_ns);
    }

    fn drop_frames(&mut self) {
        while self.session.poll_frame().is_some() {}
    }
}

#[pymethods]
impl ClientReplay {
    #[new]
    #[pyo3(signature = (config, *, first = None))]
    fn new(config: AnyConfig<'_>, first: Option<(u32, u32)>) -> PyResult<Self> {
        let mut session = config.client(true)?;
        if let Some((frame, packet)) = first {
            session.resume(frame, packet);
        }
        let inner = Inner { session, now_ns: 0 };
        Ok(Self {
            inner: Mutex::new(inner),
        })
    }

    /// Take a datagram that came at `now_ns`; return "stored", "completed" (it made its frame whole), "surplus" (its block was
    /// whole), "late_data" (likewise, and FEC had rebuilt this very shard), "late" (its frame's turn was over), "duplicate" or
    /// "rejected_" and the reason.
    fn receive(&self, py: Python<'_>, datagram: PyBuffer<u8>, now_ns: u64) -> PyResult<String> {
        let mut bytes = datagram.to_vec(py)?;
        let mut inner = self.lock();
        inner.advance_to(now_ns);
        let at = inner.now_ns;
        let receipt = inner.session.receive(&mut bytes, at);
        inner.session.advance(at);
        inner.drop_frames();
        Ok(match receipt {
            Receipt::Placed(Placed::Stored) => "stored".into(),
            Receipt::Placed(Placed::Completed) => "completed".into(),
            Receipt::Placed(Placed::Surplus { late_data: false }) => "surplus".into(),
            Receipt::Placed(Placed::Surplus { late_data: true }) => "late_data".into(),
            Receipt::Placed(Placed::Late) => "late".into(),
            Receipt::Placed(Placed::Duplicate) => "duplicate".into(),
            Receipt::Rejected(reason) => format!("rejected_{}", reason.name()),
        })
    }

    /// Finalise the accounting: every frame that is open has had its turn.
    fn settle(&self) {
        let mut inner = self.lock();
        let now_ns = inner.now_ns;
        inner.session.settle(None, now_ns);
        inner.drop_frames();
    }

    /// Return the counters, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let inner = self.lock();
        let counted = inner.session.stats().entries().into_iter();
        let named = counted.map(|(name, value)| (name.to_owned(), value));
        dict(
            py,
            named.chain(inner.session.rejections().entries()).collect(),
        )
    }

    /// Return the records of frames that left the loss window since the last call: column name to little-endian int64 array,
    /// -1 = null.
    fn take_records<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let rows = self.lock().session.take_records();
        columns(py, ClientRecord::columns(&rows))
    }
}

impl ClientReplay {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
