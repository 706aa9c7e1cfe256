//! PyO3 bindings: names and types only. `punktfunk/core/_core.pyi` is held against this by stubtest.

use pyo3::prelude::*;

mod audio;
mod enet;
mod errors;
mod fec;
mod frame;
mod link;
mod replay;
mod session;
mod sim;
mod stream;

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    fec::register(m)?;
    session::register(m)?;
    link::register(m)?;
    stream::register(m)?;
    replay::register(m)?;
    audio::register(m)?;
    sim::register(m)?;
    enet::register(m)?;
    Ok(())
}
