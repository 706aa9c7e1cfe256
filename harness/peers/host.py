"""The punktfunk host as one end of a live case."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from harness.link.base import LiveLink
from harness.network.process import NamespaceProcess
from harness.network.topology import write_sysctl
from harness.scenario.model import Media, Session
from punktfunk.errors import CapabilityError

CONTROL_PORT = 9777
"""UDP port of the control connection inside the namespaces."""
MEDIA_PORTS = range(20_000, 20_008)
"""UDP ports of streams: the host takes a free port for each (Welcome, punktfunk/1 section 2.1), and its namespace has
no others to give. A handshake that is tried again takes another one."""


def host_config(spec: Session, bind: str, artefacts: Path) -> dict[str, Any]:
    """Return the host's configuration for a session, as JSON (see ``punktfunk.host.config.HostConfig``)."""
    stream, media = spec.stream, spec.media
    return {
        "bind": bind,
        "port": CONTROL_PORT,
        "trust": "lab",
        "exit_after_sessions": 1,
        "source": _source(media),
        "mode": str(media.mode),
        "codec": media.codec,
        "bitrate": str(media.bitrate),
        "key_interval": media.key_interval or 0,
        "frames": media.frame_count,
        "verify": False,
        "fec_scheme": stream.scheme,
        "fec_percent": stream.fec_percent,
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
        "artefacts": str(artefacts),
    }


def start_host(spec: Session, link: LiveLink, folder: Path) -> NamespaceProcess:
    """Start a host in its namespace; raises :class:`~punktfunk.errors.HarnessError` when it does not come up."""
    write_sysctl(link.host, "ipv4/ip_local_port_range", f"{MEDIA_PORTS[0]} {MEDIA_PORTS[-1]}")
    config = folder / "host.config.json"
    config.write_text(
        json.dumps(host_config(spec, link.host_address.ipv4, folder / "host"), indent=1), encoding="utf-8"
    )
    process = NamespaceProcess(
        "host",
        [sys.executable, "-m", "punktfunk.host", "--config", str(config)],
        registration=link.topology.registration,
        folder=folder,
        namespace=link.host,
    )
    link.topology.callback(process.stop)
    process.wait_event("ready", 30.0)
    return process


def _source(media: Media) -> dict[str, Any]:
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
