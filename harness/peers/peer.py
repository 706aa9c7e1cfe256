"""What every end of a stream is to whoever runs one: one class for all kinds of host and client.

A run knows peers by these classes alone. A program of another project, which has no statistics and no records to give,
answers None for them: what only it could know is then missing from the figures, and never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from harness.analysis.records import Records
from harness.analysis.results import PeerResult
from punktfunk import key_log
from punktfunk.units import Mode

if TYPE_CHECKING:
    from harness.link.base import LiveLink

Role = Literal["host", "client"]
Ends = Literal["itself", "with-peer", "never"]


@dataclass(frozen=True, slots=True)
class Stats:
    """What one end counted of a stream that is over."""

    counters: Mapping[str, int]
    """By the names of the core's counters; what it cannot know the whole of is in none of them."""
    at_least: Mapping[str, int] = field(default_factory=dict)
    """Lower bounds of such counts."""
    lost_peer: str = ""
    """Why its session ended, where it lost the other end; "" for any other end."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a live peer runs: the link that it is at an end of, and the folder that takes what it leaves."""

    link: LiveLink
    folder: Path
    test: str = ""
    """Name of the scenario's layer, for a program that wants to know what is tested."""
    keys: Path | None = None
    """File to which an end logs the secrets of its sessions, to open the capture with; None where it logs none."""

    def environment(self) -> dict[str, str]:
        """Return the variables that tell an end what it cannot know by itself."""
        return {} if self.keys is None else {key_log.VARIABLE: str(self.keys)}


@runtime_checkable
class Peer(Protocol):
    """One end of a stream."""

    @property
    def role(self) -> Role:
        """Which end it is."""

    @property
    def program(self) -> str:
        """What runs there, as results name it."""

    @property
    def ports(self) -> frozenset[int]:
        """UDP ports at which it sends and hears the stream; empty where the kernel chooses."""

    def start(self) -> None:
        """Begin. The host is started before the client."""

    def ready(self) -> None:
        """Return once the other end can go on: a host listens, a client's stream runs.

        Raises :class:`~punktfunk.errors.HarnessError` when that does not come about.
        """

    def stats(self) -> Stats | None:
        """Return what it counted, once the stream is over; None where it keeps no statistics.

        Raises :class:`~punktfunk.errors.ResultsError` where it should have left some and did not.
        """

    def records(self) -> Records | None:
        """Return its columns of :data:`harness.analysis.records.COLUMNS`; None where it keeps no frame records."""


@runtime_checkable
class LivePeer(Peer, Protocol):
    """One end of a stream over real sockets: a process that can end, and be ended."""

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""

    @property
    def ends(self) -> Ends:
        """When it ends: with the stream by ``itself``, when its peer has gone, or never unless it is stopped."""

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its own end; return its exit status or None when it still runs."""

    def kill(self) -> None:
        """End it with SIGKILL, as an event of a scenario does."""

    def stop(self) -> int | None:
        """End it in order, by force where that takes too long; return its exit status."""

    def last_words(self) -> str:
        """Return the last line of its log."""


@runtime_checkable
class LiveClient(LivePeer, Protocol):
    """A client over real sockets."""

    def set_mode(self, mode: Mode) -> None:
        """Ask the host for another mode.

        Raises :class:`~punktfunk.errors.CapabilityError` where the program cannot do that while it streams.
        """


@runtime_checkable
class LiveHost(LivePeer, Protocol):
    """A host over real sockets."""

    @property
    def fingerprint(self) -> str:
        """Of its certificate, in hex, once it is ready; "" where it tells none."""

    def set_bitrate(self, kbps: int) -> None:
        """Give encoder and pacer another target.

        Raises :class:`~punktfunk.errors.CapabilityError` where the program cannot do that while it streams.
        """


def described(*peers: Peer) -> dict[Role, PeerResult]:
    """Return who stood at the ends of a stream, for its result."""
    return {peer.role: PeerResult(program=peer.program, ports=sorted(peer.ports)) for peer in peers}
