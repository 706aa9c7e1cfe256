//! ENet for Python: an endpoint without sockets and without a clock.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::{Mutex, MutexGuard, TryLockError};

use punktfunk_core::enet::{self, Delivery, Event, Path, SendError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::errors::{CoreError, InvalidConfigError, SessionClosedError};

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<EnetEvent>()?;
    m.add_class::<EnetEndpoint>()
}

/// An address of `socket`: two members, or four for IPv6.
#[derive(FromPyObject)]
enum Address {
    Six(String, u16, u32, u32),
    Four(String, u16),
}

impl Address {
    fn parse(&self) -> PyResult<SocketAddr> {
        let (host, port, flow, scope) = match self {
            Self::Four(host, port) => (host, *port, 0, 0),
            Self::Six(host, port, flow, scope) => (host, *port, *flow, *scope),
        };
        match host.parse() {
            Ok(IpAddr::V4(address)) => Ok(SocketAddrV4::new(address, port).into()),
            Ok(IpAddr::V6(address)) => Ok(SocketAddrV6::new(address, port, flow, scope).into()),
            Err(_) => Err(PyValueError::new_err(format!(
                "{host:?} is no address of an internet"
            ))),
        }
    }
}

fn address_tuple(py: Python<'_>, address: SocketAddr) -> PyResult<Bound<'_, PyTuple>> {
    match address {
        SocketAddr::V4(address) => (address.ip().to_string(), address.port()).into_pyobject(py),
        SocketAddr::V6(address) => (
            address.ip().to_string(),
            address.port(),
            address.flowinfo(),
            address.scope_id(),
        )
            .into_pyobject(py),
    }
}

/// A path in as many bytes as the core keeps; the first says how many are meant.
fn path_of(bytes: &[u8]) -> PyResult<Path> {
    let mut path = Path::default();
    let Some(place) = path.get_mut(1..=bytes.len()) else {
        return Err(PyValueError::new_err(format!(
            "a path has at most {} bytes, not {}",
            path.len() - 1,
            bytes.len()
        )));
    };
    place.copy_from_slice(bytes);
    path[0] = bytes.len() as u8;
    Ok(path)
}

/// What happened to a connection.
#[pyclass(module = "punktfunk.core._core", frozen, get_all)]
struct EnetEvent {
    kind: &'static str,
    peer: u64,
    channel: u8,
    data: u32,
    payload: Py<PyBytes>,
    cause: &'static str,
    remote: Option<Py<PyTuple>>,
}

#[pymethods]
impl EnetEvent {
    fn __repr__(&self, py: Python<'_>) -> String {
        let bytes = self.payload.bind(py).as_bytes().len();
        format!(
            "EnetEvent({}, peer={}, channel={}, data={}, {bytes} bytes, cause={:?})",
            self.kind, self.peer, self.channel, self.data, self.cause
        )
    }
}

impl EnetEvent {
    fn of(py: Python<'_>, event: Event) -> PyResult<Self> {
        let nothing = Self {
            kind: "",
            peer: 0,
            channel: 0,
            data: 0,
            payload: PyBytes::new(py, &[]).unbind(),
            cause: "",
            remote: None,
        };
        Ok(match event {
            Event::Connected { peer, data, remote } => Self {
                kind: "connected",
                peer,
                data,
                remote: Some(address_tuple(py, remote)?.unbind()),
                ..nothing
            },
            Event::Received {
                peer,
                channel,
                payload,
            } => Self {
                kind: "received",
                peer,
                channel,
                payload: PyBytes::new(py, &payload).unbind(),
                ..nothing
            },
            Event::Disconnected { peer, data, cause } => Self {
                kind: "disconnected",
                peer,
                data,
                cause: cause.name(),
                ..nothing
            },
        })
    }
}

fn events(py: Python<'_>, events: Vec<Event>) -> PyResult<Vec<EnetEvent>> {
    events.into_iter().map(|e| EnetEvent::of(py, e)).collect()
}

fn delivery_of(name: &str) -> PyResult<Delivery> {
    match name {
        "reliable" => Ok(Delivery::Reliable),
        "unreliable" => Ok(Delivery::Unreliable),
        "unsequenced" => Ok(Delivery::Unsequenced),
        _ => Err(PyValueError::new_err(format!("no delivery is {name:?}"))),
    }
}

/// A datagram, where to, and its path.
type Sent<'py> = (
    Bound<'py, PyBytes>,
    Bound<'py, PyTuple>,
    Bound<'py, PyBytes>,
);

/// An ENet host of any number of peers.
#[pyclass(module = "punktfunk.core._core", frozen)]
struct EnetEndpoint {
    endpoint: Mutex<enet::Endpoint>,
    admit: Option<Py<PyAny>>,
}

impl EnetEndpoint {
    /// Never waits: `admit` is called while this is held, and would wait for itself.
    fn lock(&self) -> PyResult<MutexGuard<'_, enet::Endpoint>> {
        match self.endpoint.try_lock() {
            Ok(endpoint) => Ok(endpoint),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(CoreError::new_err(
                "the endpoint is at work: it belongs to one thread, and admit may not call it",
            )),
        }
    }
}

#[pymethods]
impl EnetEndpoint {
    #[new]
    #[pyo3(signature = (*, peers = 64, channels = 48, seed, admit = None))]
    fn new(peers: usize, channels: usize, seed: u32, admit: Option<Py<PyAny>>) -> PyResult<Self> {
        let endpoint = enet::Endpoint::new(peers, channels, seed)
            .ok_or_else(|| InvalidConfigError::new_err("peers and channels are 1 to 255"))?;
        Ok(Self {
            endpoint: Mutex::new(endpoint),
            admit,
        })
    }

    #[pyo3(signature = (remote, data = 0, *, now_ns, path = b"".as_slice()))]
    fn connect(&self, remote: Address, data: u32, now_ns: u64, path: &[u8]) -> PyResult<u64> {
        let (remote, path) = (remote.parse()?, path_of(path)?);
        self.lock()?
            .connect(remote, path, data, now_ns)
            .ok_or_else(|| SessionClosedError::new_err("there is no room for a further peer"))
    }

    #[pyo3(signature = (datagram, remote, *, now_ns, path = b"".as_slice()))]
    fn feed(
        &self,
        py: Python<'_>,
        datagram: &[u8],
        remote: Address,
        now_ns: u64,
        path: &[u8],
    ) -> PyResult<Vec<EnetEvent>> {
        let (remote, path) = (remote.parse()?, path_of(path)?);
        let mut failed = None;
        let happened = self
            .lock()?
            .feed(datagram, remote, path, now_ns, |data, _| {
                let Some(admit) = &self.admit else {
                    return false;
                };
                let host = remote.ip().to_string();
                let admitted = admit
                    .call1(py, (data, host))
                    .and_then(|answer| answer.is_truthy(py));
                admitted.unwrap_or_else(|error| {
                    failed = Some(error);
                    false
                })
            });
        match failed {
            Some(error) => Err(error),
            None => events(py, happened),
        }
    }

    #[pyo3(signature = (*, now_ns))]
    fn tick(&self, py: Python<'_>, now_ns: u64) -> PyResult<Vec<EnetEvent>> {
        let happened = self.lock()?.tick(now_ns);
        events(py, happened)
    }

    fn next_timeout(&self) -> PyResult<Option<u64>> {
        Ok(self.lock()?.next_timeout())
    }

    fn datagrams<'py>(&self, py: Python<'py>) -> PyResult<Vec<Sent<'py>>> {
        let mut endpoint = self.lock()?;
        std::iter::from_fn(|| endpoint.next_datagram())
            .map(|(bytes, remote, path)| {
                let path = &path[1..=usize::from(path[0])];
                Ok((
                    PyBytes::new(py, &bytes),
                    address_tuple(py, remote)?,
                    PyBytes::new(py, path),
                ))
            })
            .collect()
    }

    #[pyo3(signature = (peer, channel, payload, delivery = "reliable", *, now_ns))]
    fn send(
        &self,
        peer: u64,
        channel: u8,
        payload: &[u8],
        delivery: &str,
        now_ns: u64,
    ) -> PyResult<bool> {
        let delivery = delivery_of(delivery)?;
        match self.lock()?.send(peer, channel, payload, delivery, now_ns) {
            Ok(()) => Ok(true),
            Err(SendError::NotConnected | SendError::Full) => Ok(false),
            Err(error @ SendError::TooLong) => Err(PyValueError::new_err(error.to_string())),
        }
    }

    fn unacknowledged(&self, peer: u64) -> PyResult<usize> {
        Ok(self.lock()?.unacknowledged(peer))
    }

    fn round_trip_ns(&self, peer: u64) -> PyResult<Option<u64>> {
        Ok(self.lock()?.round_trip_ns(peer))
    }

    #[pyo3(signature = (peer, data = 0, *, now_ns))]
    fn disconnect(&self, peer: u64, data: u32, now_ns: u64) -> PyResult<()> {
        self.lock()?.disconnect(peer, data, now_ns);
        Ok(())
    }

    #[pyo3(signature = (peer, data = 0, *, now_ns))]
    fn abandon(&self, peer: u64, data: u32, now_ns: u64) -> PyResult<()> {
        self.lock()?.abandon(peer, data, now_ns);
        Ok(())
    }

    #[getter]
    fn peers(&self) -> PyResult<usize> {
        Ok(self.lock()?.peers())
    }

    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in self.lock()?.counters().pairs() {
            dict.set_item(name, value)?;
        }
        Ok(dict)
    }
}
