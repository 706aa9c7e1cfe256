"""A host of GameStream in the event loop of a test, the clients that it was paired with, and streams between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from punktfunk.app import DESKTOP, App
from punktfunk.client.gamestream.config import GameStreamConfig
from punktfunk.client.gamestream.host import GameHost
from punktfunk.client.gamestream.service import GameStreamClient
from punktfunk.clock import monotonic_ns
from punktfunk.gamestream.ports import Ports
from punktfunk.host.config import HostConfig
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.gamestream.pairing import GameStreamPairing
from punktfunk.host.gamestream.server import GameStreamServer
from punktfunk.host.native.pairing import NativePairing
from punktfunk.host.pending import PendingClients
from punktfunk.host.running_apps import AppPlaces, RunningApps
from punktfunk.host.service import Host
from punktfunk.input import InputEvent
from punktfunk.media import TestCardSpec
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.store import TrustStore
from punktfunk.units import Bitrate, Mode
from tests.support.gamestream import free_ports
from tests.support.gamestream_host import HOST_IDENTITY
from tests.support.waiting import soon

MODE = Mode(640, 368, 60)
SMALL = {"mode": MODE, "bitrate": Bitrate(6_000_000)}


@dataclass
class Sink:
    """Where the input of all clients goes."""

    takes_touch: ClassVar[bool] = True

    events: list[InputEvent] = field(default_factory=list)
    released: int = 0

    def inject(self, event: InputEvent) -> bool:
        self.events.append(event)
        return True

    def release_all(self) -> None:
        self.released += 1


@dataclass
class StreamingHost:
    """What runs, and where its clients are kept."""

    host: Host
    server: GameStreamServer
    pairing: GameStreamPairing
    sink: Sink
    folder: Path

    @property
    def place(self) -> tuple[str, int]:
        """Where it is dialled."""
        bind = self.host.config.bind
        return ("127.0.0.1" if bind == "*" else bind), self.server.ports.http

    @property
    def address(self) -> str:
        host, port = self.place
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def paired(self, name: str) -> Path:
        """Pair a client; return its state folder."""
        folder = self.folder / name
        client = GameHost(self.place, folder)
        Identity.load_or_create(folder, Role.GAMESTREAM_CLIENT)

        pins: list[str] = []
        pairing = asyncio.ensure_future(client.pair(name, pins.append))
        await soon(lambda: pins and self.pairing.waiting(monotonic_ns()), "a device that waits for its PIN")
        assert self.pairing.enter_pin(pins[0], None, monotonic_ns()) == "taken"
        await pairing
        return folder

    def asking(self, state_dir: Path) -> GameHost:
        """The requests of a paired client."""
        return GameHost(self.place, state_dir)

    def client(self, state_dir: Path, **wishes: Any) -> GameStreamClient:
        """A client that streams a small test card."""
        return GameStreamClient(
            GameStreamConfig(address=self.address, state_dir=state_dir, **{**SMALL, **wishes})
        )


@asynccontextmanager
async def streaming_host(
    folder: Path,
    *,
    apps: tuple[App, ...] = (DESKTOP,),
    ports: Ports | None = None,
    desktop: DesktopPool | None = None,
    app_desktop: DesktopPool | None = None,
    open_own: Callable[[], DesktopPool] | None = None,
    **config: Any,
) -> AsyncIterator[StreamingHost]:
    """Serve GameStream on loopback with the test card, or what ``config`` says.

    Apps run on ``app_desktop``, which is not streamed, or on what ``open_own`` opens.
    """
    pending = PendingClients(TrustStore(folder / "trust.json"))
    pairing = GameStreamPairing(pending, HOST_IDENTITY)
    sink, used = Sink(), ports or free_ports()
    options = {"source": TestCardSpec(), "encoder": "x264", "port": 0, "encoder_threads": 1, **config}
    host = Host(
        HostConfig(**options),
        identity=HOST_IDENTITY,
        pairing=NativePairing(pending, bytes.fromhex(HOST_IDENTITY.fingerprint)),
        input_sink=sink if desktop is None else None,
        desktop=desktop,
        protocols=[lambda services: GameStreamServer(services, pairing, used)],
        apps=lambda: apps,
    )
    if app_desktop is not None or open_own is not None:
        places = AppPlaces(
            app_desktop,
            host._open_own_desktop if open_own is None else lambda _app: open_own(),
            lambda: host.config.max_sessions,
            host.sessions.gone,
        )
        host.apps = RunningApps(lambda: apps, places)
    async with host:
        server = host.protocols["gamestream"]
        assert isinstance(server, GameStreamServer)
        await server.encoders_known()
        yield StreamingHost(host, server, pairing, sink, folder)
