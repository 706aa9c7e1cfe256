"""``python -m punktfunk.host.gamestream_lab --config host.json``: a host that speaks GameStream alone, for the harness.

Nobody pairs with it: whom it lets in stands in its configuration.
"""

from __future__ import annotations

import sys
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from punktfunk.errors import ConfigError
from punktfunk.gamestream.certificate import ClientCertificate
from punktfunk.gamestream.ports import BASE_PORT, Ports
from punktfunk.host.config import HostConfig
from punktfunk.host.gamestream.pairing import WIRE, GameStreamPairing
from punktfunk.host.gamestream.server import GameStreamServer
from punktfunk.host.json_lines import run_made_host
from punktfunk.host.native.pairing import NativePairing
from punktfunk.host.pending import PendingClients
from punktfunk.host.service import Host
from punktfunk.process.program import run_program
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.store import PairedClient, TrustStore

TRUST_FILE = "trust.json"


class GameStreamLabConfig(BaseModel):
    """What the host is started with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    host: HostConfig
    """What it streams; it needs a ``state_dir``, for its identity and its list of clients."""
    base_port: int = BASE_PORT
    """TCP port of HTTP, from which all others follow."""
    clients: list[str] = Field(default=[], max_length=16)
    """Certificates of the clients that it lets in, PEM."""


async def run_lab_host(config: GameStreamLabConfig) -> int:
    """Serve as :func:`~punktfunk.host.json_lines.run_made_host` does; raise ``ConfigError`` without a state folder."""
    folder = config.host.state_dir
    if folder is None:
        raise ConfigError("a host of GameStream has to keep its identity", "name a state_dir")
    identity = Identity.load_or_create(folder, Role.HOST)
    pending = PendingClients(TrustStore(folder / TRUST_FILE))
    for pem in config.clients:
        certificate = ClientCertificate.parse(pem.encode())
        pending.trust.add(PairedClient(certificate.fingerprint, "lab", WIRE, 0, certificate.pem))
    pairing = GameStreamPairing(pending, identity)
    ports = Ports(config.base_port)
    host = Host(
        config.host,
        identity=identity,
        pairing=NativePairing(pending, bytes.fromhex(identity.fingerprint)),
        protocols=[lambda services: GameStreamServer(services, pairing, ports)],
    )
    return await run_made_host(host)


if __name__ == "__main__":
    sys.exit(run_program("punktfunk.host.gamestream_lab", GameStreamLabConfig, run_lab_host))
