"""What a host asks of a wire as a whole, and what it gives to each: the seam at which a second protocol plugs in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from punktfunk.host.config import HostConfig
from punktfunk.host.pending import PendingClients
from punktfunk.host.running_apps import RunningApps
from punktfunk.host.sessions import Sessions
from punktfunk.log_limit import StrangerLog
from punktfunk.trust.identity import Identity


@dataclass(frozen=True, slots=True)
class HostServices:
    """What all wires of a host share."""

    config: HostConfig
    """As the host starts; see :meth:`ProtocolServer.reconfigure`."""
    identity: Identity
    sessions: Sessions
    pending: PendingClients | None
    """Devices that await approval, and the list of paired clients; ``None`` for a host where nobody can pair."""
    apps: RunningApps
    """What clients can launch, and what runs."""
    stranger_log: StrangerLog
    """Where to write what clients cause that are not known."""


class ProtocolServer(Protocol):
    """One wire of a host: it lets clients in, agrees on streams with them, and brings their sessions to the owner.

    Belongs to the host's event loop. It is opened once, and then closed once, also when :meth:`open` has failed.
    """

    name: str
    """Of the wire, as the list of paired clients knows it: lower-case letters, digits and hyphens."""
    sender: str
    """The factory (``module:function``) of what its streams leave by: see :mod:`punktfunk.host.stream.sender`."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What was taken and dropped before there were sessions, by name."""

    async def open(self) -> None:
        """Begin to listen; raise ``CapabilityError`` when an address is taken."""

    def end_all(self) -> None:
        """End every connection, since the host stops; sessions are told to ``ClientSession.end``."""

    def close(self) -> None:
        """Stop to listen; no session is left."""

    def revoke(self, fingerprint: str) -> None:
        """End what a client has that is no longer paired, connections without a stream too."""

    def reconfigure(self, config: HostConfig) -> None:
        """Agree on streams by another configuration from now on; those that run are changed by their owner."""

    def banner(self) -> list[str]:
        """Return the lines that tell a person where it is served: a label of 13 columns, and the places."""


ProtocolFactory = Callable[[HostServices], ProtocolServer]
"""Makes a wire's server, without opening it."""
