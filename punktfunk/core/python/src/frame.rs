//! A received frame for Python.

use std::ffi::c_int;

use punktfunk_core::session::client::Frame;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

/// One access unit; `memoryview(frame)` reads it without a copy.
///
/// `gap` counts the frames that were left out before it; times are ns of CLOCK_MONOTONIC, `pts_ns` is the host's.
#[pyclass(module = "punktfunk.core._core", frozen)]
pub(crate) struct ReceivedFrame {
    pub(crate) frame: Frame,
}

#[pymethods]
impl ReceivedFrame {
    #[getter]
    fn index(&self) -> u32 {
        self.frame.index
    }

    #[getter]
    fn pts_ns(&self) -> u64 {
        self.frame.pts_ns
    }

    #[getter]
    fn flags(&self) -> u32 {
        self.frame.flags
    }

    #[getter]
    fn key(&self) -> bool {
        self.frame.is_key()
    }

    #[getter]
    fn decodable(&self) -> bool {
        self.frame.decodable
    }

    #[getter]
    fn gap(&self) -> u32 {
        self.frame.gap
    }

    #[getter]
    fn recv_first_ns(&self) -> i64 {
        self.frame.recv_first_ns
    }

    #[getter]
    fn recv_last_ns(&self) -> i64 {
        self.frame.recv_last_ns
    }

    #[getter]
    fn complete_ns(&self) -> i64 {
        self.frame.complete_ns
    }

    /// Time from capture to sending as the host says it (GameStream does), -1 where it does not.
    #[getter]
    fn host_latency_ns(&self) -> i64 {
        self.frame.host_latency_ns
    }

    fn __len__(&self) -> usize {
        self.frame.data.len()
    }

    /// Return a read-only view of the access unit (PEP 688); `memoryview(frame)` does the same.
    fn __buffer__<'py>(
        slf: Bound<'py, Self>,
        #[allow(unused_variables)] flags: c_int,
    ) -> PyResult<Bound<'py, PyMemoryView>> {
        PyMemoryView::from(slf.as_any())
    }

    /// Lend the access unit, read-only.
    ///
    /// # Safety
    /// `view` comes from CPython's buffer protocol.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let data: &[u8] = &slf.get().frame.data;
        // SAFETY: the bytes live as long as the frozen object, which the view keeps alive; they are lent read-only,
        // and a request for a writable view fails here.
        let failed = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                data.as_ptr().cast_mut().cast(),
                data.len() as ffi::Py_ssize_t,
                1,
                flags,
            )
        };
        if failed == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }
}
