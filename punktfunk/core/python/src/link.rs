//! Link models, the TUN pump and probes for Python.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use punktfunk_core::emulate::{self, Delivery, LinkCounters, LinkSpec, LinkSpecError, Outcome};
use punktfunk_core::probe;
use punktfunk_core::tun::{self, Direction, LogRow, PumpError, PumpOptions};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::errors::{CoreError, InvalidConfigError};

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<LinkModel>()?;
    m.add_class::<TunPump>()?;
    m.add_function(wrap_pyfunction!(probe_send, m)?)?;
    m.add_function(wrap_pyfunction!(probe_receive, m)?)
}

fn spec_error(error: LinkSpecError) -> PyErr {
    InvalidConfigError::new_err(error.to_string())
}

fn pump_error(error: PumpError) -> PyErr {
    match error {
        PumpError::Spec(e) => spec_error(e),
        PumpError::Io(e) => e.into(),
        PumpError::Dead => CoreError::new_err(error.to_string()),
    }
}

fn parse_spec(json: &str) -> PyResult<LinkSpec> {
    LinkSpec::from_json(json).map_err(spec_error)
}

fn dict_of<'py>(
    py: Python<'py>,
    pairs: impl IntoIterator<Item = (&'static str, u64)>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in pairs {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}

/// Little-endian int64 column.
fn column<'py>(
    py: Python<'py>,
    values: impl ExactSizeIterator<Item = i64>,
) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, values.len() * 8, |bytes| {
        for (slot, value) in bytes.chunks_exact_mut(8).zip(values) {
            slot.copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    })
}

/// How a column reads a row of the packet log.
type Cell = fn(&LogRow) -> i64;

/// A delivery on its way: ordered by arrival, then packet, then copy; with its size.
type Flying = Reverse<(u64, u64, u8, usize)>;

/// The model of one direction with a clock that the caller moves.
#[pyclass(module = "punktfunk.core._core")]
struct LinkModel {
    model: emulate::LinkModel,
    flying: BinaryHeap<Flying>,
    deliveries: HashMap<(u64, u8), Delivery>,
}

impl LinkModel {
    fn land(&mut self, now_ns: u64) {
        while let Some(&Reverse((at_ns, index, copy, size))) = self.flying.peek() {
            if at_ns > now_ns {
                break;
            }
            self.flying.pop();
            if let Some(delivery) = self.deliveries.remove(&(index, copy)) {
                self.model.arrived(index, &delivery, size);
            }
        }
    }
}

#[pymethods]
impl LinkModel {
    #[new]
    #[pyo3(signature = (spec_json, seed, direction = 0))]
    fn new(spec_json: &str, seed: u64, direction: u8) -> PyResult<Self> {
        let model = emulate::LinkModel::new(&parse_spec(spec_json)?, seed, direction)
            .map_err(spec_error)?;
        Ok(Self {
            model,
            flying: BinaryHeap::new(),
            deliveries: HashMap::new(),
        })
    }

    fn offer(&mut self, now_ns: u64, size_bytes: usize) -> (&'static str, Vec<(u64, bool)>) {
        self.land(now_ns);
        let verdict = self.model.offer(now_ns, size_bytes);
        for delivery in verdict.deliveries() {
            let key = (verdict.index, delivery.copy);
            self.flying
                .push(Reverse((delivery.at_ns, key.0, key.1, size_bytes)));
            self.deliveries.insert(key, *delivery);
        }
        let outcome = match verdict.outcome {
            Outcome::Delivered => "delivered",
            Outcome::Lost => "lost",
            Outcome::QueueDropped => "queue_dropped",
        };
        let deliveries = verdict.deliveries().iter();
        (
            outcome,
            deliveries.map(|d| (d.at_ns, d.corrupt.is_some())).collect(),
        )
    }

    fn set_spec(&mut self, spec_json: &str, now_ns: u64) -> PyResult<()> {
        self.model
            .set_spec(&parse_spec(spec_json)?, now_ns)
            .map_err(spec_error)
    }

    #[pyo3(signature = (now_ns = None))]
    fn counters<'py>(
        &mut self,
        py: Python<'py>,
        now_ns: Option<u64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.land(now_ns.unwrap_or(u64::MAX));
        dict_of(py, self.model.counters().pairs())
    }
}

/// The pump's handle; every question goes to its thread and back without the GIL.
#[pyclass(module = "punktfunk.core._core", frozen)]
struct TunPump {
    pump: Mutex<tun::TunPump>,
    realtime: bool,
}

impl TunPump {
    fn ask<R: Send>(
        &self,
        py: Python<'_>,
        question: impl FnOnce(&mut tun::TunPump) -> Result<R, PumpError> + Send,
    ) -> PyResult<R> {
        py.detach(|| question(&mut self.pump.lock().unwrap_or_else(PoisonError::into_inner)))
            .map_err(pump_error)
    }
}

#[pymethods]
impl TunPump {
    #[new]
    #[pyo3(signature = (
        fd_a, fd_b, spec_ab_json, spec_ba_json, seed, *, realtime = false, coalesce = true, log_packets = false,
        log_rows = 1_000_000, memory_bytes = 268_435_456, spin_us = 50, media_ports = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn new(
        py: Python<'_>,
        fd_a: i32,
        fd_b: i32,
        spec_ab_json: &str,
        spec_ba_json: &str,
        seed: u64,
        realtime: bool,
        coalesce: bool,
        log_packets: bool,
        log_rows: usize,
        memory_bytes: usize,
        spin_us: u64,
        media_ports: Option<Vec<u16>>,
    ) -> PyResult<Self> {
        let (ab, ba) = (parse_spec(spec_ab_json)?, parse_spec(spec_ba_json)?);
        let options = PumpOptions {
            realtime,
            coalesce,
            log_rows: if log_packets { log_rows } else { 0 },
            memory_bytes,
            spin: Duration::from_micros(spin_us),
            media_ports,
        };
        let pump = py
            .detach(|| tun::TunPump::new([fd_a, fd_b], [&ab, &ba], seed, &options))
            .map_err(pump_error)?;
        Ok(Self {
            realtime: pump.realtime(),
            pump: Mutex::new(pump),
        })
    }

    #[getter]
    fn realtime(&self) -> bool {
        self.realtime
    }

    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counters: [LinkCounters; 2] = self.ask(py, tun::TunPump::counters)?;
        let others = self.ask(py, tun::TunPump::others)?;
        let dict = PyDict::new(py);
        for ((name, all), other) in ["ab", "ba"].into_iter().zip(counters).zip(others) {
            let others = [
                ("other_in", other.other_in),
                ("other_delivered", other.other_delivered),
                ("other_checksum_dropped", other.other_checksum_dropped),
            ];
            dict.set_item(name, dict_of(py, all.pairs().into_iter().chain(others))?)?;
        }
        Ok(dict)
    }

    fn lateness_ns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let summary = self.ask(py, tun::TunPump::lateness)?;
        dict_of(
            py,
            [
                ("count", summary.count),
                ("p50", summary.p50_ns),
                ("p90", summary.p90_ns),
                ("p99", summary.p99_ns),
                ("p999", summary.p999_ns),
                ("max", summary.max_ns),
            ],
        )
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.ask(py, tun::TunPump::stats)?;
        dict_of(
            py,
            [
                ("cpu_ns", stats.cpu_ns),
                ("reads", stats.reads),
                ("writes", stats.writes),
                ("write_errors", stats.write_errors),
                ("sleeps", stats.sleeps),
                ("naps", stats.naps),
                ("devices_lost", stats.devices_lost),
                ("memory_bytes", stats.memory_bytes),
                ("log_missed", stats.log_missed),
            ],
        )
    }

    fn take_log<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let rows = self.ask(py, tun::TunPump::take_log)?;
        let dict = PyDict::new(py);
        let columns: [(&str, Cell); 8] = [
            ("index", |row| row.index as i64),
            ("direction", |row| row.direction.into()),
            ("copy", |row| row.copy.into()),
            ("verdict", |row| row.verdict as i64),
            ("bytes", |row| row.bytes.into()),
            ("in_ns", |row| row.in_ns as i64),
            ("due_ns", |row| row.due_ns.map_or(-1, |ns| ns as i64)),
            ("out_ns", |row| row.out_ns.map_or(-1, |ns| ns as i64)),
        ];
        for (name, value) in columns {
            dict.set_item(name, column(py, rows.iter().map(value))?)?;
        }
        Ok(dict)
    }

    fn set_spec(&self, py: Python<'_>, direction: &str, spec_json: &str) -> PyResult<()> {
        let direction = match direction {
            "ab" => Direction::AToB,
            "ba" => Direction::BToA,
            other => {
                let text = format!("direction is {other:?}, must be 'ab' or 'ba'");
                return Err(PyValueError::new_err(text));
            }
        };
        let spec = parse_spec(spec_json)?;
        self.ask(py, |pump| pump.set_spec(direction, &spec))
    }

    fn restart(
        &self,
        py: Python<'_>,
        spec_ab_json: &str,
        spec_ba_json: &str,
        seed: u64,
    ) -> PyResult<()> {
        let (ab, ba) = (parse_spec(spec_ab_json)?, parse_spec(spec_ba_json)?);
        self.ask(py, |pump| pump.restart([&ab, &ba], seed))
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        self.ask(py, tun::TunPump::stop)
    }
}

/// Go on unless a signal handler of Python raised; what it raised goes to `error`.
fn unless_interrupted(error: &mut Option<PyErr>) -> bool {
    *error = Python::attach(|py| py.check_signals()).err();
    error.is_none()
}

#[pyfunction]
#[pyo3(signature = (fd, *, count, size_bytes, interval_ns = 0, segments = 1, first_index = 0))]
fn probe_send(
    py: Python<'_>,
    fd: i32,
    count: u64,
    size_bytes: usize,
    interval_ns: u64,
    segments: usize,
    first_index: u64,
) -> PyResult<Bound<'_, PyDict>> {
    let plan = probe::SendPlan {
        count,
        size_bytes,
        interval_ns,
        segments,
        first_index,
    };
    let mut raised = None;
    let report = py.detach(|| probe::send(fd, &plan, || unless_interrupted(&mut raised)))?;
    if let Some(error) = raised {
        return Err(error);
    }
    dict_of(
        py,
        [
            ("sent", report.sent),
            ("dropped", report.dropped),
            ("first_tx_ns", report.first_tx_ns),
            ("last_tx_ns", report.last_tx_ns),
            ("late_max_ns", report.late_max_ns),
            ("cpu_ns", report.cpu_ns),
            ("gso", report.gso.into()),
        ],
    )
}

#[pyfunction]
#[pyo3(signature = (fd, *, idle_timeout_s, max_packets, size_bytes, gro = true, keep = true))]
fn probe_receive(
    py: Python<'_>,
    fd: i32,
    idle_timeout_s: f64,
    max_packets: u64,
    size_bytes: usize,
    gro: bool,
    keep: bool,
) -> PyResult<Bound<'_, PyDict>> {
    let idle_timeout = Duration::try_from_secs_f64(idle_timeout_s)
        .map_err(|e| PyValueError::new_err(format!("idle_timeout_s: {e}")))?;
    let plan = probe::ReceivePlan {
        idle_timeout,
        max_packets,
        size_bytes,
        gro,
        keep,
    };
    let mut raised = None;
    let report = py.detach(|| probe::receive(fd, &plan, || unless_interrupted(&mut raised)))?;
    if let Some(error) = raised {
        return Err(error);
    }
    let dict = dict_of(
        py,
        [
            ("count", report.count),
            ("byte_count", report.bytes),
            ("corrupted", report.corrupted),
            ("foreign", report.foreign),
            ("kernel_dropped", report.kernel_dropped),
            ("receive_buffer_granted", report.receive_buffer_granted),
            ("first_rx_ns", report.first_rx_ns),
            ("last_rx_ns", report.last_rx_ns),
            ("cpu_ns", report.cpu_ns),
        ],
    )?;
    for (name, values) in [
        ("index", &report.index),
        ("tx_ns", &report.tx_ns),
        ("rx_ns", &report.rx_ns),
        ("user_ns", &report.user_ns),
        ("corrupt", &report.corrupt),
    ] {
        dict.set_item(name, column(py, values.iter().copied())?)?;
    }
    Ok(dict)
}
