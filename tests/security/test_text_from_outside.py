"""Nothing that a peer says acts on a terminal: every field of theirs, and what really comes out.

Programs run on a pseudo-terminal, as a person runs them, with ``-v``. Colours are the only escapes that are ours.
What files say is in ``test_text_in_files.py``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import socket
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from zeroconf import DNSAddress, DNSOutgoing, DNSPointer, DNSService, DNSText, const

from punktfunk import input as event
from punktfunk.native import datagrams, handshake, messages, quic
from punktfunk.native.dialect import CloseCode, Dialect
from punktfunk.native.discovery import SERVICE_TYPE
from punktfunk.native.endpoint import Dialer, Listener
from punktfunk.native.framing import frame
from punktfunk.native.handshake import Hello, Start, Welcome, WireMode
from punktfunk.native.messages import PairRequest
from punktfunk.native.quic import Closed, Link, Peer
from punktfunk.native.quic_limits import MAX_UDP_PAYLOAD_BYTES
from punktfunk.trust.identity import Identity, Role
from tests.support.hostile_text import (
    LONG,
    REASON,
    SHORT,
    Terminal,
    harm,
    run,
)


class Wire:
    """A peer that says what it wants: a handler for either end's link."""

    def __init__(self, act: Callable[[Wire], None] = lambda _wire: None) -> None:
        self.act = act
        self.link: Link | None = None
        self.established, self.over = asyncio.Event(), asyncio.Event()
        self.received = asyncio.Event()

    def link_made(self, link: Link, _local: str) -> None:
        self.link = link
        link._quic._max_datagram_size = MAX_UDP_PAYLOAD_BYTES  # so that a long reason goes out

    def link_established(self, peer: Peer) -> None:
        self.established.set()

    def stream_received(self, data: bytes) -> None:
        self.received.set()
        self.act(self)

    def stream_ended(self) -> None: ...

    def datagram_received(self, data: bytes) -> None: ...

    def link_closed(self, closed: Closed) -> None:
        self.over.set()


def string_fields(*modules: Any) -> set[tuple[str, str]]:
    """Return every text in the dataclasses of some modules, as (class, field)."""
    found = set()
    for module in modules:
        for kind in vars(module).values():
            if (
                dataclasses.is_dataclass(kind)
                and isinstance(kind, type)
                and kind.__module__ == module.__name__
            ):
                hints = typing.get_type_hints(kind)
                found |= {
                    (kind.__name__, f.name) for f in dataclasses.fields(kind) if str in _parts(hints[f.name])
                }
    return found


def _parts(hint: Any) -> set[Any]:
    inner = typing.get_args(hint)
    return {hint} | {part for one in inner for part in _parts(one)}


def test_the_texts_of_the_wire_are_those_that_are_tested_here() -> None:
    theirs = string_fields(handshake, messages, datagrams, event, quic)
    ours = {("Ignored", "reason"), ("Peer", "address"), ("Peer", "fingerprint")}
    """Names of counters, and what the link itself found out."""
    assert theirs - ours == {
        ("Hello", "name"),
        ("Hello", "launch"),
        ("PairRequest", "name"),
        ("Closed", "reason"),
    }


def test_what_clients_say_reaches_the_host_s_terminal_as_text(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = Terminal(
            ["-v", "host", "--open", "--port", "0", "--source", "synthetic", "--frame-bytes", "2000"],
            tmp_path,
        )
        async with host:
            port = int((await host.until(r"UDP port (\d+)\s"))[1])
            hello = Hello(mode=WireMode(1280, 720, 60), name=SHORT)
            for first in (
                hello.encode(),
                dataclasses.replace(hello, launch=SHORT).encode(),
                PairRequest(SHORT, b"A" * 33).encode(),
                b"PKF1" + LONG.encode()[:40_000],
            ):
                wire = Wire()
                dialer = Dialer(("127.0.0.1", port), Identity.generate(Role.CLIENT), Dialect.PKF1, None, wire)
                await wire.established.wait()
                dialer.link._quic._max_datagram_size = MAX_UDP_PAYLOAD_BYTES
                dialer.link.send_stream(frame(first))
                if first == hello.encode():
                    await wire.received.wait()
                    dialer.link.send_stream(frame(Start(40_000).encode()))
                    dialer.link.close(0x77, REASON)
                await wire.over.wait()
            await host.until("client left")
        assert "close code 0x77" in host.text
        assert "\\x1b[2J" in host.text, "the name and the reason are there, as text"
        assert re.search(r"no app '\\+x1b", host.text), "what no app is called, too"
        assert not harm(host.text)
        assert len(host.text) < 20_000

    run(scenario())


@pytest.mark.parametrize("code", [0x77, CloseCode.DONE, CloseCode.DENIED, CloseCode.ERROR])
@pytest.mark.parametrize("command", ["pair", "connect", "probe"])
def test_a_host_s_close_reason_reaches_the_client_s_terminal_as_text(
    command: str, code: int, tmp_path: Path
) -> None:
    async def scenario() -> None:
        identity = Identity.generate(Role.HOST)

        def close(wire: Wire) -> None:
            assert wire.link is not None
            wire.link.close(int(code), REASON)

        listener = Listener("127.0.0.1", 0, identity, lambda: Wire(close))
        extra = ["--pin", "1234"] if command == "pair" else []
        client = Terminal(["-v", command, f"127.0.0.1:{listener.port}", *extra], tmp_path)
        try:
            assert await client.run() in {1, 5}
        finally:
            listener.close()
        assert "\\x1b]0;owned" in client.text
        assert not harm(client.text)
        assert len(client.text) < 20_000

    run(scenario())


def test_a_host_that_closes_in_the_middle_of_a_stream_is_quoted_as_text(tmp_path: Path) -> None:
    async def scenario() -> None:
        def welcome_or_close(wire: Wire) -> None:
            assert wire.link is not None
            wire.act = lambda wire: wire.link.close(int(CloseCode.DONE), REASON) if wire.link else None
            wire.link.send_stream(
                frame(
                    Welcome(
                        mode=WireMode(1280, 720, 60), udp_port=9, key=bytes(range(16)), host_caps=0
                    ).encode()
                )
            )

        listener = Listener("127.0.0.1", 0, Identity.generate(Role.HOST), lambda: Wire(welcome_or_close))
        client = Terminal(["-v", "connect", f"127.0.0.1:{listener.port}", "--no-decode"], tmp_path)
        try:
            await client.run()
        finally:
            listener.close()
        assert "\\x1b]0;owned" in client.text, ascii(client.text)
        assert not harm(client.text)

    run(scenario())


def announcement(name: str) -> bytes:
    """Return the multicast DNS packet of a host that is called what nobody may be called."""
    full, server = f"{name}.{SERVICE_TYPE}", f"{name}.local."
    unique = const._CLASS_IN | const._CLASS_UNIQUE
    packet = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
    text = b"".join(
        bytes([len(entry)]) + entry
        for entry in (b"proto=punktfunk/1", b"fp=" + b"ab" * 32, b"\xff\x1b=\xff\x07")
    )
    for record in (
        DNSPointer(SERVICE_TYPE, const._TYPE_PTR, const._CLASS_IN, 120, full),
        DNSService(full, const._TYPE_SRV, unique, 120, 0, 0, 9777, server),
        DNSText(full, const._TYPE_TXT, unique, 120, text),
        DNSAddress(server, const._TYPE_A, unique, 120, bytes([127, 0, 0, 1])),
    ):
        packet.add_answer_at_time(record, 0)
    return packet.packets()[0]


def test_hosts_of_the_network_are_listed_with_harmless_names_whatever_they_call_themselves(
    tmp_path: Path,
) -> None:
    names = ["\u202eevil\u200b\u2066", "\x1b[2J\x07", "\x7f", "a\r\nb", "x" * 62]

    async def scenario() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as network:
            network.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            async with Terminal(
                ["discover", "--interface", "127.0.0.1", "--seconds", "2"], tmp_path
            ) as searching:
                ended = asyncio.ensure_future(searching.process.wait())
                while not ended.done():
                    for name in names:
                        network.sendto(announcement(name), ("224.0.0.251", 5353))
                    await asyncio.wait({ended}, timeout=0.2)
        assert searching.process.returncode == 0, searching.text
        assert searching.text.count("ab" * 32) >= 2, searching.text
        assert "evil " in searching.text
        assert not harm(searching.text)

    run(scenario())


def test_a_client_s_name_is_text_in_the_api_s_lists_and_in_its_log_lines(managed: Any) -> None:
    host = managed()

    async def ask_to_pair() -> None:
        for first in (
            Hello(mode=WireMode(1280, 720, 60), name=SHORT, launch=SHORT).encode(),
            PairRequest(SHORT, b"A" * 33).encode(),
        ):
            wire = Wire()
            address = ("127.0.0.1", int(host.native_address.rpartition(":")[2]))
            dialer = Dialer(address, Identity.generate(Role.CLIENT), Dialect.PKF1, None, wire)
            await wire.established.wait()
            dialer.link.send_stream(frame(first))
            await wire.over.wait()

    run(ask_to_pair())
    with host.program() as client:
        found = []
        for path in ("native/pending", "logs", "sessions", "host"):
            answer: httpx.Response = client.get(f"/api/v1/{path}")
            assert answer.status_code == 200
            found += list(texts(answer.json()))
    assert any(text == "[2J" for text in found), "the pending device"
    assert not [ascii(text) for text in found if harm(text)]


def texts(value: Any) -> Iterator[str]:
    """Yield every text in some JSON, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from texts(name)
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
