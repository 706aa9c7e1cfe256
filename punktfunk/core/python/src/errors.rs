//! The core's errors as classes of `punktfunk.errors`.

pyo3::import_exception!(punktfunk.errors, CoreError);
pyo3::import_exception!(punktfunk.errors, CryptoError);
pyo3::import_exception!(punktfunk.errors, FecError);
pyo3::import_exception!(punktfunk.errors, InvalidConfigError);
pyo3::import_exception!(punktfunk.errors, SessionClosedError);
