"""The punktfunk host without a screen as the host of a live case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from harness.analysis import records
from harness.analysis.records import Records
from harness.network.namespaces import Namespace
from harness.network.topology import write_sysctl
from harness.peers.peer import Role, Stats
from harness.peers.process import ProcessPeer
from harness.scenario.model import Media
from punktfunk.errors import CapabilityError

CONTROL_PORT = 9777
"""UDP port of the control connection inside the namespaces."""
MEDIA_PORTS = range(20_000, 20_008)
"""UDP ports of streams: the host takes a free port for each (Welcome, punktfunk/1 section 2.1), and its namespace has
no others to give. A handshake that is tried again takes another one."""


class PunktfunkHost(ProcessPeer):
    """``punktfunk.host`` for one session (a :class:`~harness.peers.peer.LiveHost`)."""

    role: ClassVar[Role] = "host"
    program: ClassVar[str] = "punktfunk.host"
    ports: ClassVar[frozenset[int]] = frozenset(MEDIA_PORTS)

    def config(self) -> dict[str, Any]:
        """Return the host's configuration, as JSON (see ``punktfunk.host.config.HostConfig``)."""
        stream, media = self._spec.stream, self._spec.media
        return {
            "bind": self._place.link.host_address.ipv4,
            "port": CONTROL_PORT,
            "trust": "lab",
            "exit_after_sessions": 1,
            "source": source_of(media),
            "mode": str(media.mode),
            "codec": media.codec,
            "bitrate": str(media.bitrate),
            "key_interval": media.key_interval or 0,
            "frames": media.frame_count,
            "verify": False,
            "fec_scheme": stream.scheme,
            "fec_percent": stream.fec_percent,
            "adaptive_fec": stream.adaptive_fec,
            "shard_bytes": stream.shard.bytes,
            "max_block_shards": stream.block,
            "encrypt": stream.encryption,
            "pacing": {
                "burst_packets": stream.pacing.burst,
                "packets_per_ms": stream.pacing.per_ms,
                "rate_factor": stream.pacing.rate_factor,
            },
            "queue_frames": stream.queue_frames,
            "gso": stream.gso,
            "artefacts": str(self._left),
        }

    def start(self) -> None:
        """Start the host; its namespace has no other free UDP ports than those of :data:`MEDIA_PORTS`."""
        write_sysctl(self._namespace(), "ipv4/ip_local_port_range", f"{MEDIA_PORTS[0]} {MEDIA_PORTS[-1]}")
        super().start()

    def set_bitrate(self, kbps: int) -> None:
        """Give encoder and pacer another target."""
        self._process.send({"do": "bitrate", "kbps": kbps})

    def stats(self) -> Stats:
        """Return what its stream counted; raise ResultsError when it left nothing."""
        return Stats(self._left_stats()["counters"])

    def records(self) -> Records | None:
        """Return its frame records; None when it left none."""
        table = self._table("records.npz")
        return None if table is None else records.join(host=table)

    def _namespace(self) -> Namespace:
        return self._place.link.host


if TYPE_CHECKING:  # the registry names the class by a text, which no type checker follows
    from harness.peers.loading import HostKind

    _fulfils: HostKind = PunktfunkHost


def source_of(media: Media) -> dict[str, Any]:
    """Return what a host streams, as its configuration has it; raise CapabilityError where no live host does."""
    match media.source:
        case "testcard":
            return {"kind": "testcard", "entropy": media.entropy.value}
        case "file":
            assert media.file is not None
            return {"kind": "file", "path": str(media.file.absolute())}
        case _:
            sizes = media.sizes
            if sizes.size is None:
                raise CapabilityError(
                    "over a live link synthetic frames are all of one size",
                    "use frame_bytes: with one size, or the sim link",
                )
            # In a scenario 0 makes every frame a key frame, which is the host's 1; its 0 is "on demand".
            interval = {None: 0, 0: 1}.get(media.key_interval, media.key_interval)
            follows_bitrate = media.frame_bytes is None
            return {
                "kind": "synthetic",
                "frame_bytes": None if follows_bitrate else sizes.size.bytes,
                "key_interval": interval,
            }
