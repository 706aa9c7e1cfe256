"""Find the peers of a protocol: imported when a case wants them, so that a simulation loads no network modules."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, cast

from harness.scenario.model import Session
from harness.scenario.protocols import GAMESTREAM, PROTOCOLS
from punktfunk.errors import CapabilityError

if TYPE_CHECKING:
    from harness.peers.peer import LiveClient, LiveHost, Place
    from harness.peers.simulated import Simulation


_COMMAND = "harness.peers.command:CommandKind"


class HostKind(Protocol):
    """Makes hosts over a live link."""

    @property
    def ports(self) -> frozenset[int]:
        """The media ports of each of them: the link is made before they are."""

    def __call__(self, spec: Session, place: Place, /) -> LiveHost:
        """Return a host that has not been started."""


class ClientKind(Protocol):
    """Makes clients over a live link."""

    def __call__(self, spec: Session, place: Place, /) -> LiveClient:
        """Return a client that has not been started."""


class SimulationKind(Protocol):
    """Makes simulations."""

    def __call__(self, spec: Session, seed: int, /) -> Simulation:
        """Return both ends, not started."""


def live_peers(spec: Session) -> tuple[HostKind, ClientKind]:
    """Return what makes host and client of a session: those of its protocol, or what a description names.

    Raises CapabilityError where an end of ours cannot meet a described program.
    """
    wire = PROTOCOLS[spec.protocol]
    host = cast("HostKind", _load(wire.host))
    client = cast("ClientKind", _load(wire.client))
    foreign = spec.foreign
    if len(foreign) < 2:
        _check_ours(spec)
    if not foreign:
        return host, client
    command = _load(_COMMAND)
    if "host" in foreign:
        host = command(foreign["host"], host.ports)
    if "client" in foreign:
        client = command(foreign["client"], frozenset())
    return host, client


def _check_ours(spec: Session) -> None:
    """Refuse what our ends, which know each other by files, cannot do with a program that they do not know."""
    if spec.foreign and spec.protocol == GAMESTREAM:
        raise CapabilityError(
            "'ours' is paired with ours by files, and GameStream lets nobody in who is not paired",
            "name punktfunk-serve or punktfunk-gamestream, which pair by a PIN",
        )
    if spec.pairing == "prove" or (spec.foreign and spec.pairing == "pin"):
        raise CapabilityError(
            "'ours' trusts everybody in the lab, or is paired by files, and pairs by no PIN",
            "name punktfunk-serve or punktfunk-connect, which do",
        )


def simulation_of(protocol: str) -> SimulationKind:
    """Return what makes both ends of a known protocol in virtual time; scenarios ask for it only where there is one."""
    return cast("SimulationKind", _load(PROTOCOLS[protocol].simulation))


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
