"""The project's GameStream host and client as the ends of a live case: paired beforehand, by files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cryptography.hazmat.primitives.serialization import Encoding

from harness.analysis import records
from harness.analysis.records import Records
from harness.network.namespaces import Namespace
from harness.peers.host import source_of
from harness.peers.peer import Role, Stats
from harness.peers.process import ProcessPeer
from harness.peers.receiving import ReceivingPeer
from punktfunk.client.gamestream.known_hosts import PairedHost, PairedHosts
from punktfunk.errors import CapabilityError
from punktfunk.gamestream.ports import Ports
from punktfunk.trust.identity import Identity
from punktfunk.trust.identity import Role as IdentityRole

PORTS = Ports()
_STATE = {"host": IdentityRole.HOST, "client": IdentityRole.GAMESTREAM_CLIENT}


class GameStreamHost(ProcessPeer):
    """``punktfunk.host.gamestream_lab`` for one session (a :class:`~harness.peers.peer.LiveHost`)."""

    role: ClassVar[Role] = "host"
    program: ClassVar[str] = "punktfunk.host.gamestream_lab"
    # Those whose packets the stream's own counters count; sound and control are no part of them.
    ports: ClassVar[frozenset[int]] = frozenset({PORTS.video})

    def config(self) -> dict[str, Any]:
        """Return the host's configuration, as JSON (see ``punktfunk.host.gamestream_lab``)."""
        stream, media = self._spec.stream, self._spec.media
        folder = self._place.folder
        return {
            "host": {
                "bind": self._place.link.host_address.ipv4,
                "state_dir": str(_state(folder, "host")),
                "exit_after_sessions": 1,
                "source": source_of(media),
                "mode": str(media.mode),
                "codec": media.codec,
                "encoder": "x264" if media.codec == "h264" else "auto",
                "bitrate": str(media.bitrate),
                "key_interval": media.key_interval or 0,
                "frames": media.frame_count,
                "verify": False,
                "fec_percent": stream.fec_percent,
                "adaptive_fec": stream.adaptive_fec,
                "pacing": {
                    "burst_packets": stream.pacing.burst,
                    "packets_per_ms": stream.pacing.per_ms,
                    "rate_factor": stream.pacing.rate_factor,
                },
                "queue_frames": stream.queue_frames,
                "gso": stream.gso,
                "artefacts": str(self._left),
            },
            "clients": [_certificate(folder, "client")],
        }

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


class GameStreamClient(ReceivingPeer):
    """``punktfunk.client.gamestream`` for one session (a :class:`~harness.peers.peer.LivePeer`)."""

    program: ClassVar[str] = "punktfunk.client.gamestream"

    def config(self) -> dict[str, Any]:
        """Return the client's configuration, as JSON (see ``punktfunk.client.gamestream.config``)."""
        stream, media = self._spec.stream, self._spec.media
        if media.source == "synthetic":
            raise CapabilityError(
                "synthetic frames are no access units of a codec, which GameStream has to name",
                "stream the test card or a file, or use the sim link",
            )
        folder, address = self._place.folder, self._place.link.host_address.ipv4
        reference = {"kind": "testcard", "entropy": media.entropy.value}
        state = _state(folder, "client")
        PairedHosts(state).remember(
            PairedHost(
                address=address,
                port=PORTS.http,
                name="lab",
                unique_id="lab",
                certificate=_certificate(folder, "host"),
            )
        )
        return {
            "address": f"{address}:{PORTS.http}",
            "state_dir": str(state),
            "mode": str(media.mode),
            "bitrate": str(media.bitrate),
            "codecs": [media.codec],
            "encrypt_video": stream.encryption,
            "reference": reference if media.quality and media.source == "testcard" else None,
            "recovery": stream.recovery,
            "hold_undecodable": stream.hold_undecodable,
            "artefacts": str(self._left),
        }


def _state(folder: Path, role: Role) -> Path:
    return folder / f"{role}.state"


def _certificate(folder: Path, role: Role) -> str:
    """Return the certificate of an end, made now where there is none."""
    identity = Identity.load_or_create(_state(folder, role), _STATE[role])
    return identity.certificate.public_bytes(Encoding.PEM).decode("ascii")


if TYPE_CHECKING:  # the registry names the classes by texts, which no type checker follows
    from harness.peers.loading import ClientKind, HostKind

    _host: HostKind = GameStreamHost
    _client: ClientKind = GameStreamClient
