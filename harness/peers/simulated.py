"""Host and client of either wire in one process, in virtual time: one call of the core streams from end to end."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.analysis import records
from harness.analysis.records import Records
from harness.peers.following import FollowedFec
from harness.peers.peer import Role, Stats
from harness.scenario.model import Session
from punktfunk.core import _core
from punktfunk.errors import HarnessError
from punktfunk.gamestream.damage import REPORT_S


@dataclass(frozen=True, slots=True)
class Streamed:
    """What a simulation found beside what its peers counted."""

    digest: str
    """Over every byte and verdict: equal for an equal session and seed."""
    link: dict[str, int]
    """The link's counters, host to client."""
    frames: dict[str, int]
    """Frames whose bytes are those that were sent (``intact``), and others (``corrupt``)."""
    balances: dict[str, int]
    """The core's own balances; each must be zero."""
    percents: tuple[int, ...] | None
    """The FEC percentage of each frame, where it followed loss."""


class Simulation:
    """A stream of one session and seed, between two peers that know each other through the link model alone."""

    def __init__(self, spec: Session, seed: int) -> None:
        self._order = json.dumps(self.core_spec(spec, seed))
        self._followed = FollowedFec(spec.stream.fec_percent) if spec.stream.adaptive_fec else None
        self._result: _core.SimResult | None = None
        self._counts: dict[str, dict[str, int]] = {}
        self.host = SimulatedPeer(self, "host")
        self.client = SimulatedPeer(self, "client")

    @staticmethod
    def core_spec(spec: Session, seed: int) -> dict[str, Any]:
        """Write a session as the core's simulator takes it."""
        return core_spec(spec, seed)

    def begin(self, role: Role) -> None:
        """Start an end: with the client the stream runs to its end."""
        if role == "host":
            return
        self._result = _core.simulate(self._order, self._followed)
        self._counts = json.loads(self._result.ledger_json)

    def streamed(self) -> Streamed:
        """Return what came out; raise HarnessError before the client was started."""
        percents = (
            None if self._followed is None else self._followed.percents(self._counts["frames"]["submitted"])
        )
        return Streamed(
            digest=self._done().digest,
            link=self._counts["link"],
            frames=self._counts["frames"],
            balances=self._counts.get("balances", {}),
            percents=percents,
        )

    def stats(self, role: Role) -> Stats:
        """Return what one end counted."""
        self._done()
        return Stats(self._counts[role])

    def records(self, role: Role) -> Records:
        """Return the columns of one end."""
        host, client = records.split_sim(self._done().records())
        return host if role == "host" else client

    def _done(self) -> _core.SimResult:
        if self._result is None:
            raise HarnessError("nothing was simulated", "start the client")
        return self._result


class GameStreamSimulation(Simulation):
    """The same over GameStream: its video, its recovery packets and what asks for a key frame; no HTTP and no RTSP.

    ``scheme``, ``shard`` and ``block`` of a session are punktfunk/1's: packets are as a client on a LAN asks for.
    """

    @staticmethod
    def core_spec(spec: Session, seed: int) -> dict[str, Any]:
        """Write a session as the core's simulator takes it."""
        order = core_spec(spec, seed)
        of_both = ("fec_percent", "key", "hold_undecodable", "reorder_window_ns")
        stream = order.pop("stream")
        return order | {
            "gamestream": {name: stream[name] for name in of_both}
            | {"packet_size": spec.stream.gamestream_packet_size}
        }


class SimulatedPeer:
    """One end of a simulation (a :class:`~harness.peers.peer.Peer`)."""

    program: ClassVar[str] = "simulation"
    ports: ClassVar[frozenset[int]] = frozenset()

    def __init__(self, simulation: Simulation, role: Role) -> None:
        self.role = role
        self._simulation = simulation

    def start(self) -> None:
        """Begin; the client's start returns when the stream is over, in virtual time."""
        self._simulation.begin(self.role)

    def ready(self) -> None:
        """Return at once: in virtual time nobody waits."""

    def stats(self) -> Stats:
        """Return what it counted."""
        return self._simulation.stats(self.role)

    def records(self) -> Records:
        """Return its columns of the frame records."""
        return self._simulation.records(self.role)


def core_spec(spec: Session, seed: int) -> dict[str, Any]:
    """Write a session as the core's simulator takes it."""
    stream, media = spec.stream, spec.media
    up = spec.link.up
    return {
        "stream": {
            "scheme": stream.scheme,
            "fec_percent": stream.fec_percent,
            "max_block_shards": stream.block,
            "shard_bytes": stream.shard.bytes,
            "key": hashlib.sha256(f"key/{seed}".encode()).hexdigest()[:32] if stream.encryption else None,
            "hold_undecodable": stream.hold_undecodable,
            "reorder_window_ns": stream.reorder_window.ns,
        },
        "link": spec.core_link("down"),
        "seed": seed,
        "frames": media.frame_count,
        "fps": media.fps,
        "frame_bytes": media.sizes.core(),
        "key_interval": _key_interval(spec),
        "content": media.content,
        "rate_kbps": media.bitrate.kbps,
        "pacing": {
            "burst_packets": stream.pacing.burst,
            "packets_per_ms": stream.pacing.per_ms,
            "rate_factor": stream.pacing.rate_factor,
        },
        # The request travels the way back; its loss is not simulated, its delay is.
        "recovery_rtt_us": up.delay.us if stream.recovery else None,
        "loss_words": {"interval_us": REPORT_S * 1e6, "delay_us": up.delay.us}
        if stream.adaptive_fec
        else None,
        "verify_content": True,
        "sabotage": stream.sabotage,
        "records": True,
    }


def _key_interval(spec: Session) -> int:
    interval = spec.media.key_interval
    return spec.media.frame_count if interval is None else interval
