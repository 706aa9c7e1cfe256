//! Simulation for Python.

use std::collections::BTreeMap;

use punktfunk_core::sim;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::errors::InvalidConfigError;

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<SimResult>()?;
    m.add_function(wrap_pyfunction!(simulate, m)?)
}

/// What a simulation found.
///
/// `ledger_json` holds counters of host, client and link, frames by comparison with what was sent, and balances that
/// are 0 unless something is unaccounted for. `digest` (SHA-256, hexadecimal) covers it and all records.
#[pyclass(module = "punktfunk.core._core", frozen)]
struct SimResult {
    #[pyo3(get)]
    ledger_json: String,
    #[pyo3(get)]
    digest: String,
    columns: BTreeMap<String, Vec<u8>>,
}

#[pymethods]
impl SimResult {
    /// Return one row per submitted frame: column name to little-endian int64 array, -1 = null.
    ///
    /// `status` is the client's (0 complete, 1 unrecoverable, 2 expired), `host_status` the host's.
    fn records<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, bytes) in &self.columns {
            dict.set_item(name, PyBytes::new(py, bytes))?;
        }
        Ok(dict)
    }
}

/// Run a host and a client session over the seeded link model in virtual time.
///
/// Everything follows from the specification: the same JSON gives the same bytes. Runs without the GIL. Raises
/// InvalidConfigError, which names the key, for a specification that cannot be run.
#[pyfunction]
fn simulate(py: Python<'_>, spec_json: &str) -> PyResult<SimResult> {
    let outcome = py
        .detach(|| sim::simulate(spec_json))
        .map_err(|e| InvalidConfigError::new_err(e.to_string()))?;
    Ok(SimResult {
        ledger_json: outcome.ledger_json,
        digest: outcome.digest,
        columns: outcome.columns,
    })
}
