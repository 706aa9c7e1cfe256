"""Find the peers of a protocol: imported when a case wants them, so that a simulation loads no network modules."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, cast

from harness.scenario.model import Session
from harness.scenario.protocols import PROTOCOLS

if TYPE_CHECKING:
    from harness.peers.peer import LiveHost, LivePeer, Place
    from harness.peers.simulated import Simulation


class HostKind(Protocol):
    """Makes hosts over a live link."""

    @property
    def ports(self) -> frozenset[int]:
        """The media ports of each of them: the link is made before they are."""

    def __call__(self, spec: Session, place: Place, /) -> LiveHost:
        """Return a host that has not been started."""


class ClientKind(Protocol):
    """Makes clients over a live link."""

    def __call__(self, spec: Session, place: Place, /) -> LivePeer:
        """Return a client that has not been started."""


class SimulationKind(Protocol):
    """Makes simulations."""

    def __call__(self, spec: Session, seed: int, /) -> Simulation:
        """Return both ends, not started."""


def live_peers(protocol: str) -> tuple[HostKind, ClientKind]:
    """Return what makes host and client of a known protocol."""
    wire = PROTOCOLS[protocol]
    return cast("HostKind", _load(wire.host)), cast("ClientKind", _load(wire.client))


def simulation_of(protocol: str) -> SimulationKind:
    """Return what makes both ends of a known protocol in virtual time; scenarios ask for it only where there is one."""
    return cast("SimulationKind", _load(PROTOCOLS[protocol].simulation))


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
