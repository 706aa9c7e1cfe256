"""A GameStream host of HTTP alone, and how a client asks it: for tests of its servers."""

from __future__ import annotations

import asyncio
import gc
import http.client
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode
from xml.etree import ElementTree

from punktfunk.app import DESKTOP, App
from punktfunk.clock import monotonic_ns
from punktfunk.errors import StatusError
from punktfunk.gamestream.describe import CodecModes
from punktfunk.gamestream.launch import LaunchRequest, rtsp_url
from punktfunk.gamestream.ports import Ports
from punktfunk.host.gamestream.http_server import HttpServer
from punktfunk.host.gamestream.pairing import GameStreamPairing
from punktfunk.host.pending import PendingClients
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.store import PairedClient, TrustStore
from tests.support.gamestream import free_ports
from tests.support.moonlight import ClientKeys, PairingClient
from tests.support.waiting import PATIENCE_S, eventually

T = TypeVar("T")
UNIQUE_ID = "0123456789ABCDEF"
HOST_IDENTITY = Identity.generate(Role.HOST)


@dataclass
class Owner:
    """Launches nothing, and remembers what it was asked."""

    trust: TrustStore
    ports: Ports
    running: int = 0
    catalogue: list[App] = field(default_factory=lambda: [DESKTOP, App(7, "Tom & Jerry")])
    launched: list[tuple[str, LaunchRequest, str, str]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    """Where set, what a launch and a cancel wait for."""

    def paired(self, fingerprint: str) -> PairedClient | None:
        return self.trust.find(fingerprint)

    def running_app(self, _client: PairedClient | None) -> int:
        return self.running

    def apps(self) -> list[App]:
        return self.catalogue

    def codec_mask(self) -> int:
        return int(CodecModes.H264 | CodecModes.HEVC)

    async def launch(
        self, client: PairedClient, request: LaunchRequest, local_address: str, remote_address: str
    ) -> str:
        if self.running:
            raise StatusError("an app runs already", status=400)
        return await self._begin(client, request, local_address, remote_address)

    async def resume(
        self, client: PairedClient, request: LaunchRequest, local_address: str, remote_address: str
    ) -> str:
        if not self.running:
            raise StatusError("nothing runs", status=503)
        return await self._begin(client, request, local_address, remote_address)

    async def cancel(self, client: PairedClient) -> None:
        del client
        if self.gate is not None:
            await self.gate.wait()
        self.running = 0

    async def _begin(self, client: PairedClient, request: LaunchRequest, local: str, remote: str) -> str:
        if self.gate is not None:
            await self.gate.wait()
        self.running = request.app_id or self.running
        self.launched.append((client.fingerprint, request, local, remote))
        return rtsp_url(local, self.ports.rtsp, encrypted=request.encrypted_rtsp)


@dataclass
class GameStreamHost:
    """What runs, and where."""

    server: HttpServer
    owner: Owner
    pairing: GameStreamPairing
    ports: Ports
    loop: asyncio.AbstractEventLoop


@asynccontextmanager
async def gamestream_host(folder: Path, bind: str = "127.0.0.1") -> AsyncIterator[GameStreamHost]:
    """Serve with the trust list of a folder; fail at the end if anything went wrong that nobody was told."""
    unseen: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unseen.append(context))
    ports = free_ports()
    pairing = GameStreamPairing(PendingClients(TrustStore(folder / "trust.json")), HOST_IDENTITY)
    owner = Owner(pairing.trust, ports)
    server = HttpServer(bind, ports, owner, pairing)
    await server.open()
    try:
        yield GameStreamHost(server, owner, pairing, ports, asyncio.get_running_loop())
    finally:
        server.close()
    await asyncio.sleep(0)
    gc.collect()
    assert not unseen


def beside_a_host(folder: Path, use: Callable[[GameStreamHost], T], bind: str = "127.0.0.1") -> T:
    """Run what blocks in a thread, beside a host."""

    async def run() -> T:
        async with gamestream_host(folder, bind) as host:
            return await asyncio.to_thread(use, host)

    return asyncio.run(run())


def among_clients(folder: Path, use: Callable[[GameStreamHost], Awaitable[T]]) -> T:
    """Run a coroutine beside a host."""

    async def run() -> T:
        async with gamestream_host(folder) as host:
            return await use(host)

    return asyncio.run(run())


@dataclass(frozen=True)
class Answer:
    """A reply, as it came."""

    http_status: int
    headers: dict[str, str]
    body: bytes

    @property
    def root(self) -> ElementTree.Element:
        return ElementTree.fromstring(self.body)

    @property
    def status(self) -> int:
        return int(self.root.attrib["status_code"])

    def text(self, name: str) -> str | None:
        return self.root.findtext(name)


def tls_of(keys: ClientKeys | None) -> ssl.SSLContext:
    """Return how a client speaks TLS, with its certificate if it has one; it trusts whomever it reaches."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if keys is not None:
        with tempfile.NamedTemporaryFile() as both:
            both.write(keys.pem + keys.key_pem)
            both.flush()
            context.load_cert_chain(both.name)
    return context


def ask(
    ports: Ports,
    path: str,
    *,
    secure: bool = False,
    keys: ClientKeys | None = None,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    method: str = "GET",
    **query: str,
) -> Answer:
    """Ask a host, by HTTPS if ``secure`` or with a certificate, and return what it says."""
    if secure or keys is not None or tls is not None:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, ports.https, timeout=PATIENCE_S, context=tls or tls_of(keys)
        )
    else:
        connection = http.client.HTTPConnection(host, ports.http, timeout=PATIENCE_S)
    try:
        connection.request(method, f"{path}?{urlencode(query)}" if query else path)
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def pair(host: GameStreamHost, keys: ClientKeys, *, pin: str = "1234", typed: str | None = None) -> bool:
    """Go through the phases 1 to 4 as a client in another thread than the host's; return whether it is paired."""
    fourth = phases(host, keys, pin=pin, typed=typed)
    assert fourth.status == 200
    return fourth.text("paired") == "1"


def phases(host: GameStreamHost, keys: ClientKeys, *, pin: str = "1234", typed: str | None = None) -> Answer:
    """Go through the phases 1 to 4; return what the last one is answered."""
    client = PairingClient(keys, pin)
    common = {"uniqueid": UNIQUE_ID, "uuid": "1", "devicename": "roth", "updateState": "1"}
    with ThreadPoolExecutor(1) as other:
        first = other.submit(ask, host.ports, "/pair", **common, **client.begin())
        eventually(lambda: host.pairing.waiting(monotonic_ns()), "a device that waits for its PIN")
        assert not first.done()
        type_pin(host, typed or pin, keys.fingerprint)
        plaincert = first.result().text("plaincert")
    assert plaincert is not None
    assert bytes.fromhex(plaincert).startswith(b"-----BEGIN CERTIFICATE-----")
    second = ask(host.ports, "/pair", **common, **client.challenge())
    third = ask(
        host.ports, "/pair", **common, **client.answer(bytes.fromhex(second.text("challengeresponse") or ""))
    )
    assert third.text("paired") == "1"
    return ask(host.ports, "/pair", **common, **client.secret())


def type_pin(host: GameStreamHost, pin: str, fingerprint: str | None = None) -> str:
    """Enter a PIN, as the management API does in the host's own thread."""

    async def enter() -> str:
        return host.pairing.enter_pin(pin, fingerprint, monotonic_ns())

    return asyncio.run_coroutine_threadsafe(enter(), host.loop).result(PATIENCE_S)
