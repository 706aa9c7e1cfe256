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
    fn records<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, bytes) in &self.columns {
            dict.set_item(name, PyBytes::new(py, bytes))?;
        }
        Ok(dict)
    }
}

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
