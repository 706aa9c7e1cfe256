//! Link models, the TUN pump and probes for Python.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use punktfunk_core::emulate::{self, Delivery, LinkSpec, Outcome};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::InvalidConfigError;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<LinkModel>()
}

fn parse_spec(json: &str) -> PyResult<LinkSpec> {
    LinkSpec::from_json(json).map_err(|e| InvalidConfigError::new_err(e.to_string()))
}

fn counters_dict<'py>(
    py: Python<'py>,
    counters: &emulate::LinkCounters,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in counters.pairs() {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}

/// A delivery on its way: ordered by arrival, then packet, then copy.
type Flying = Reverse<(u64, u64, u8, usize)>;

/// The model of one direction with a clock that the caller moves.
#[pyclass(module = "punktfunk.core._core")]
struct LinkModel {
    model: emulate::LinkModel,
    flying: BinaryHeap<Flying>,
    deliveries: std::collections::HashMap<(u64, u8), Delivery>,
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
            .map_err(|e| InvalidConfigError::new_err(e.to_string()))?;
        Ok(Self {
            model,
            flying: BinaryHeap::new(),
            deliveries: std::collections::HashMap::new(),
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
            .map_err(|e| InvalidConfigError::new_err(e.to_string()))
    }

    #[pyo3(signature = (now_ns = None))]
    fn counters<'py>(
        &mut self,
        py: Python<'py>,
        now_ns: Option<u64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.land(now_ns.unwrap_or(u64::MAX));
        counters_dict(py, &self.model.counters())
    }
}
