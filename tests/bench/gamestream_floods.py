"""What hostile peers of GameStream cost a host, and how long a paired client takes to connect beside them.

A served host runs in a process of its own. For each attack, prints by how much its memory has grown at most while the
attack lasts, its CPU, and how long a paired client takes there and then from its launch by HTTPS through RTSP to the
control connection (three times; beside the CONNECTs once, from its own CONNECT on). Prints figures, judges nothing.

* **quiet**: nobody else.
* **connects**: 100,000 ENet CONNECTs from forged addresses of 127.0.0.0/8, whose numbers are of no session;
  **connects, number known**: with the number of the session that the client is about to connect to;
  **connects, answered**: 64 peers with that number who are where they say, and finish to connect again and again
  without the session's key.
* **pairings**: 1,000 devices from 250 addresses begin to pair, each with a certificate of its own, and say no more.
* **slow http**, **slow https**, **slow rtsp**: 200 peers from as many addresses that send a byte every half second, and
  dial again when they are cut off; half of those of RTSP begin a frame that is sealed.
* **launches**: what a paired client may do: 500 requests, /launch and /resume in turn, 16 at once, while it streams.

    python tests/bench/gamestream_floods.py [--only quiet,connects,pairings,...] [--connects 100000] [--peers 200]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import random
import resource
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from cryptography.hazmat.primitives.serialization import Encoding

from punktfunk.client.gamestream.control import ControlConnection
from punktfunk.client.gamestream.host import GameHost, LaunchWish, StreamKey
from punktfunk.client.gamestream.known_hosts import PairedHost, PairedHosts
from punktfunk.client.gamestream.rtsp import Agreed, RtspSession
from punktfunk.client.gamestream.wish import StreamChoice, StreamWish
from punktfunk.errors import PunktfunkError
from punktfunk.gamestream.ports import Ports
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.store import PairedClient, TrustStore
from punktfunk.units import Bitrate, Mode

_REPOSITORY = Path(__file__).parents[2]
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(_REPOSITORY)}
_MODE = Mode(1280, 720, 60)
_TRIES, _BETWEEN_S = 3, 1.5
_IP_PKTINFO = 8
_CONNECT = bytes.fromhex(
    "8fff0259 82ff0001 0000ffff 00000384 00010000 00000030 00000000 00000000 00001388 00000002 00000002"
)
_CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
_LAUNCHES, _LAUNCHES_AT_ONCE = 500, 16


@dataclass
class Host:
    """A served host, and a client that is paired with it."""

    pid: int
    ports: Ports
    client: GameHost

    @property
    def memory_mb(self) -> float:
        """What it has resident."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 1e6

    @property
    def cpu_s(self) -> float:
        """What all its threads have used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(folder: Path) -> Iterator[Host]:
    """Run ``punktfunk serve`` with a client that has been paired."""
    state, own = folder / "host", folder / "client"
    for each in (state, own):
        each.mkdir(mode=0o700)
    host, mine = (
        Identity.load_or_create(state, Role.HOST),
        Identity.load_or_create(own, Role.GAMESTREAM_CLIENT),
    )
    TrustStore(state / "trust.json").add(PairedClient(mine.fingerprint, "bench", "gamestream", 0, _pem(mine)))
    ports = _free_ports()
    PairedHosts(own).remember(
        PairedHost(address="127.0.0.1", port=ports.http, name="host", unique_id="0", certificate=_pem(host))
    )
    options = [
        "--gamestream",
        "--gamestream-port",
        str(ports.base),
        "--native-port",
        "0",
        "--no-mgmt",
        "--no-mdns",
    ]
    options += [
        "--bind",
        "127.0.0.1",
        "--source",
        "synthetic",
        "--frame-bytes",
        "2000",
        "--state-dir",
        str(state),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "punktfunk", "serve", *options],
        cwd=_REPOSITORY,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        while not (line := process.stdout.readline()).startswith("gamestream"):
            if not line:
                raise SystemExit("punktfunk serve did not come up")
        yield Host(process.pid, ports, GameHost(("127.0.0.1", ports.http), own))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def _pem(identity: Identity) -> str:
    return identity.certificate.public_bytes(Encoding.PEM).decode()


def _free_ports() -> Ports:
    draw = random.Random(os.urandom(8))
    while True:
        ports = Ports(draw.randrange(12_000, 32_000))
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for number in (ports.http, ports.https, ports.rtsp, ports.video, ports.control, ports.audio):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", number))
            return ports


async def _negotiated(host: Host) -> tuple[StreamKey, Agreed]:
    """Launch and agree on a stream; what is left is the control connection."""
    key, info = StreamKey.draw(), await host.client.info_as_paired()
    begin = host.client.resume if info.busy else host.client.launch
    place = await begin(1, LaunchWish(_MODE), key)
    rtsp = RtspSession("127.0.0.1", place, key.key, high_quality_sound=False, source="127.0.0.1")
    wish = StreamWish(_MODE, Bitrate.from_kbps(10_000))
    choice = StreamChoice.of(wish, await rtsp.describe(), info.codec_modes)
    agreed = await rtsp.set_up()
    await rtsp.play(choice)
    return key, agreed


async def _connected(host: Host) -> float:
    """Connect once and quit again; return seconds from the launch to the control connection."""
    began = time.monotonic()
    key, agreed = await _negotiated(host)
    control = await ControlConnection.open(("127.0.0.1", agreed.control_port), key.key, agreed.connect_data)
    took = time.monotonic() - began
    control.start()
    await control.close()
    await host.client.quit()
    return took


class Reading:
    """What a host cost since this began."""

    def __init__(self, host: Host) -> None:
        self._host, self._memory_mb, self._cpu_s = host, host.memory_mb, host.cpu_s
        self._began, self._most_mb = time.monotonic(), host.memory_mb

    async def watch(self) -> None:
        """Look at its memory until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(0.02)

    def look(self) -> None:
        """Look at its memory now."""
        self._most_mb = max(self._most_mb, self._host.memory_mb)

    def row(self, name: str, connects: list[float], note: str = "") -> None:
        """Print what was found."""
        self.look()
        took = " ".join(f"{each:5.2f}" for each in connects)
        cpu, seconds = self._host.cpu_s - self._cpu_s, time.monotonic() - self._began
        print(
            f"{name:<24} growth {self._most_mb - self._memory_mb:6.1f} MB, of {seconds:5.1f} s CPU {cpu:5.2f} s, "
            f"{f'client connects in s: {took}  ' if took else ''}{note}",
            flush=True,
        )


@asynccontextmanager
async def _watched(host: Host) -> AsyncIterator[Reading]:
    reading = Reading(host)
    watching = asyncio.create_task(reading.watch())
    try:
        yield reading
    finally:
        watching.cancel()


async def _beside(host: Host, name: str, attack: AbstractAsyncContextManager[Callable[[], str]]) -> None:
    """Connect three times beside an attack at full strength."""
    async with _watched(host) as reading, attack as note:
        connects = []
        for _ in range(_TRIES):
            await asyncio.sleep(_BETWEEN_S)
            try:
                connects.append(await _connected(host))
            except PunktfunkError as error:
                print(f"  {name}: {error.cause}")
        reading.row(name, connects, note())


@asynccontextmanager
async def _nobody() -> AsyncIterator[Callable[[], str]]:
    yield lambda: ""


def _address(number: int) -> tuple[str, int]:
    return f"127.1.{number // 250}.{number % 250 + 1}", 0


@asynccontextmanager
async def _pairings(host: Host, count: int = 1000) -> AsyncIterator[Callable[[], str]]:
    """Begin pairings and hold their connections; nobody checks who signed a certificate, so that one key does."""
    der = Identity.generate(Role.GAMESTREAM_CLIENT).certificate.public_bytes(Encoding.DER)
    held = []
    for number in range(count):
        pem = ssl.DER_cert_to_PEM_cert(der[:-4] + struct.pack(">I", number)).encode()
        query = {
            "uniqueid": str(number),
            "phrase": "getservercert",
            "salt": "00" * 16,
            "clientcert": pem.hex(),
        }
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", host.ports.http, local_addr=_address(number % 250)
        )
        writer.write(f"GET /pair?{urlencode(query)} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        held.append((reader, writer))
    await asyncio.sleep(1)
    yield lambda: f"({count} pairings begun)"
    for _, writer in held:
        writer.transport.abort()


@asynccontextmanager
async def _slow(port: int, peers: int, begins: Callable[[int], bytes]) -> AsyncIterator[Callable[[], str]]:
    """Hold connections that send a byte every half second, for as long as it lasts."""
    dialled = 0

    async def peer(number: int) -> None:
        nonlocal dialled
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=_address(number))
                dialled += 1
                try:
                    writer.write(begins(number))
                    while not writer.transport.is_closing():
                        await asyncio.sleep(0.5)
                        writer.write(b"a")
                        await writer.drain()
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(peer(number)) for number in range(peers)]
    while dialled < peers:
        await asyncio.sleep(0.05)
    yield lambda: f"({peers} peers, dialled {dialled} times)"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _rtsp(number: int) -> bytes:
    return b"\x80\x00\x40\x00" if number % 2 else b"OPTIONS / RTSP/1.0\r\nA: "


def _forge(port: int, count: int, number: int | None) -> None:
    """Send CONNECTs from forged addresses, with one number or each with another."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("0.0.0.0", 0))
        for sent in range(1, count + 1):
            source = bytes([127, 1 + (sent >> 16), sent >> 8 & 0xFF, 1 + sent % 250])
            info = struct.pack("=i4s4s", 0, source, bytes(4))
            datagram = _CONNECT + struct.pack(">II", sent, sent if number is None else number)
            sender.sendmsg([datagram], [(socket.IPPROTO_IP, _IP_PKTINFO, info)], 0, ("127.0.0.1", port))


async def _connects(host: Host, name: str, count: int, *, known: bool) -> None:
    key, agreed = await _negotiated(host)
    async with _watched(host) as reading:
        number = agreed.connect_data if known else None
        forging = multiprocessing.Process(target=_forge, args=(agreed.control_port, count, number))
        forging.start()
        await asyncio.sleep(0.3)
        flooded, began, connects = forging.is_alive(), time.monotonic(), []
        try:
            control = await ControlConnection.open(
                ("127.0.0.1", agreed.control_port), key.key, agreed.connect_data
            )
            connects.append(time.monotonic() - began)
            control.start()
        except PunktfunkError as error:
            control = None
            print(f"  {name}: {error.cause}")
        within = forging.is_alive()
        await asyncio.to_thread(forging.join)
        await asyncio.sleep(1)
        reading.row(
            name, connects, f"({count} sent, client begins {'while' if flooded else 'after'} and is in "
            f"{'while' if within else 'after'} they come)"
        )  # fmt: skip
    if control is not None:
        await control.close()
    await host.client.quit()


async def _answered(host: Host) -> None:
    """Connect while others do so too, by the same number, with a key that is not the session's."""
    key, agreed = await _negotiated(host)
    place = ("127.0.0.1", agreed.control_port)
    dialled = 0

    async def stranger() -> None:
        nonlocal dialled
        while True:
            with contextlib.suppress(PunktfunkError, TimeoutError):
                async with asyncio.timeout(0.5):
                    other = await ControlConnection.open(place, bytes(16), agreed.connect_data)
                    other.start()
                    await asyncio.sleep(0.05)
                    other._end()
            dialled += 1
            await asyncio.sleep(0)

    async with _watched(host) as reading:
        strangers = [asyncio.create_task(stranger()) for _ in range(64)]
        await asyncio.sleep(1)
        began, connects, over = time.monotonic(), list[float](), asyncio.Event()
        control = await ControlConnection.open(place, key.key, agreed.connect_data)
        connects.append(time.monotonic() - began)
        control.on_closed = lambda _: over.set()
        control.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await over.wait()
        reading.row(
            "connects, answered",
            connects,
            f"({dialled} dialled, client {'cut off' if over.is_set() else 'stays'})",
        )
        for task in strangers:
            task.cancel()
        await asyncio.gather(*strangers, return_exceptions=True)
    await control.close()
    await host.client.quit()


async def _launches(host: Host) -> None:
    key, agreed = await _negotiated(host)
    control = await ControlConnection.open(("127.0.0.1", agreed.control_port), key.key, agreed.connect_data)
    control.start()
    said: dict[str, int] = {}
    async with _watched(host) as reading:
        left = iter(range(_LAUNCHES))

        async def launch() -> None:
            for number in left:
                begin = host.client.resume if number % 2 else host.client.launch
                try:
                    await begin(1, LaunchWish(_MODE), StreamKey.draw())
                    words = "begun"
                except PunktfunkError as error:
                    words = error.cause
                said[words] = said.get(words, 0) + 1

        await asyncio.gather(*(launch() for _ in range(_LAUNCHES_AT_ONCE)))
        words = "; ".join(f"{count} x {what}" for what, count in said.items())
        reading.row("launches", [], f"({words})")
    await control.close()
    await host.client.quit()


async def _run(host: Host, given: argparse.Namespace) -> None:
    only = set(given.only.split(",")) if given.only else set()

    def wanted(name: str) -> bool:
        return not only or name in only

    await _connected(host)  # what is loaded once is no growth
    if wanted("quiet"):
        await _beside(host, "quiet", _nobody())
    if wanted("connects"):
        await _connects(host, "connects", given.connects, known=False)
        await _connects(host, "connects, number known", given.connects, known=True)
        await _answered(host)
    if wanted("pairings"):
        await _beside(host, "pairings", _pairings(host))
    if wanted("slow"):
        half = b"GET /serverinfo HTTP/1.1\r\nA: "
        for name, port, begins in (
            ("slow http", host.ports.http, lambda _: half),
            ("slow https", host.ports.https, lambda _: _CLIENT_HELLO),
            ("slow rtsp", host.ports.rtsp, _rtsp),
        ):
            await _beside(host, name, _slow(port, given.peers, begins))
    if wanted("launches"):
        await _launches(host)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="quiet, connects, pairings, slow, launches (default: all)")
    parser.add_argument("--connects", type=int, default=100_000)
    parser.add_argument("--peers", type=int, default=200)
    given = parser.parse_args()
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2
    )
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as host:
        print(f"a host with one paired client has {host.memory_mb:.0f} MB resident")
        asyncio.run(_run(host, given))


if __name__ == "__main__":
    main()
