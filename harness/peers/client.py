"""The punktfunk reference client, without a screen, as the other end of a live case."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from harness.link.base import LiveLink
from harness.network.process import NamespaceProcess
from harness.peers.host import CONTROL_PORT
from harness.scenario.model import Session


def client_config(spec: Session, host: str, artefacts: Path) -> dict[str, Any]:
    """Return the client's configuration for a session, as JSON (``punktfunk.client.config.ClientConfig``)."""
    stream, media = spec.stream, spec.media
    reference = {"kind": "testcard", "entropy": media.entropy.value}
    return {
        "address": f"{host}:{CONTROL_PORT}",
        "trust": "lab",
        "mode": str(media.mode),
        "codecs": [media.codec],
        "decode": media.source != "synthetic",
        "reference": reference if media.quality and media.source == "testcard" else None,
        "recovery": stream.recovery,
        "hold_undecodable": stream.hold_undecodable,
        "reorder_window": str(stream.reorder_window),
        "artefacts": str(artefacts),
    }


def start_client(spec: Session, link: LiveLink, folder: Path) -> NamespaceProcess:
    """Start a client in its namespace; it connects at once."""
    config = folder / "client.config.json"
    config.write_text(
        json.dumps(client_config(spec, link.host_address.ipv4, folder / "client"), indent=1), encoding="utf-8"
    )
    process = NamespaceProcess(
        "client",
        [sys.executable, "-m", "punktfunk.client", "--config", str(config)],
        registration=link.topology.registration,
        folder=folder,
        namespace=link.client,
    )
    link.topology.callback(process.stop)
    return process
