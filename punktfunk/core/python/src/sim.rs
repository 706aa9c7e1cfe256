//! Simulation for Python.

use std::collections::BTreeMap;

use punktfunk_core::sim::{self, LossWord};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::errors::InvalidConfigError;
use crate::stream::block_report;

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
/// Everything follows from the specification, and from what `follow` answers: the same gives the same bytes. Runs without the
/// GIL. Raises InvalidConfigError, which names the key, for a specification that cannot be run, and what `follow` raises.
///
/// `follow` hears what the client says of loss, as often as `loss_words` of the specification has it: the virtual time in ns,
/// the frames submitted and the packets sent so far, the loss report of punktfunk/1 in ppm (None on GameStream), and what came
/// of damaged blocks as ClientStream.take_block_reports has it. It returns the FEC percentage of the next frames, or None to
/// leave it.
#[pyfunction]
#[pyo3(signature = (spec_json, follow = None))]
fn simulate(py: Python<'_>, spec_json: &str, follow: Option<Py<PyAny>>) -> PyResult<SimResult> {
    let mut raised = None;
    let outcome = py.detach(|| match follow {
        None => sim::simulate(spec_json),
        Some(follow) => sim::simulate_following(spec_json, &mut |word| {
            Python::attach(|py| ask(py, &follow, word)).map_err(|error| {
                let text = error.to_string();
                raised = Some(error);
                text
            })
        }),
    });
    if let Some(error) = raised {
        return Err(error);
    }
    let outcome = outcome.map_err(|e| InvalidConfigError::new_err(e.to_string()))?;
    Ok(SimResult {
        ledger_json: outcome.ledger_json,
        digest: outcome.digest,
        columns: outcome.columns,
    })
}

fn ask(py: Python<'_>, follow: &Py<PyAny>, word: &LossWord) -> PyResult<Option<u32>> {
    let blocks: Vec<_> = word.blocks.iter().map(block_report).collect();
    let said = (
        word.now_ns,
        word.frames,
        word.packets,
        word.loss_ppm,
        blocks,
    );
    follow.call1(py, said)?.extract(py)
}
