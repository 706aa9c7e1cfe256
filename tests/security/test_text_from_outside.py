"""Nothing that a peer or a file says acts on a terminal: every field of theirs, and what really comes out.

Programs run on a pseudo-terminal, as a person runs them, with ``-v``. Colours are the only escapes that are ours.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import pty
import re
import socket
import sys
import typing
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import UnionType
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from zeroconf import DNSAddress, DNSOutgoing, DNSPointer, DNSService, DNSText, const

import punktfunk
from harness.analysis import results
from harness.cli import main
from harness.scenario.model import Scenario
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
from punktfunk.process.program import run_program
from punktfunk.trust.identity import Identity, Role

REPOSITORY = Path(__file__).parents[2]
ATTACK = "\x1b]0;owned\x07\x1b[2J\r\x9b31m\x00\x7f\u202egnp\u2066\u2069\u200b\ufeff\u2028\u2029\u3164"
"""ESC, BEL, CR, C0, C1, bidirectional controls and isolates, zero-width characters, separators, a filler."""
LONG = ATTACK + "A" * 65536
REASON = (ATTACK + "A" * 1400).encode()[:1400].decode(errors="ignore")
"""As much as goes into a datagram that our ends take."""
"""As much of it as one UDP datagram takes."""
SHORT = "\x1b[2J\x07\r\x9b\u202e\u2066\u200b\u2028"
"""As much of it as fits the 64 bytes of a name."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def harm(text: str) -> str:
    """Return the first line with something in it that a terminal obeys or nobody sees, "" when there is none."""
    for line in text.replace("\r\n", "\n").split("\n"):
        if not all(c.isprintable() and c != "\u3164" for c in _COLOURS.sub("", line).replace("\u202f", " ")):
            return ascii(line)
    return ""


class Terminal:
    """A program on a pseudo-terminal: everything that it writes, standard error included."""

    def __init__(self, arguments: list[str], home: Path) -> None:
        self.arguments, self.home = arguments, home
        self.text = ""

    async def run(self) -> int:
        """Run the program to its end."""
        async with self:
            return await asyncio.wait_for(self.process.wait(), 60)

    async def until(self, words: str) -> re.Match[str]:
        """Wait until the program has written what matches these words, and return it."""
        async with asyncio.timeout(60):
            while (found := re.search(words, self.text)) is None:
                await self._more.wait()
                self._more.clear()
        return found

    async def __aenter__(self) -> Terminal:
        self._ours, theirs = pty.openpty()
        self._more = asyncio.Event()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from punktfunk.cli import main; main()",
            *self.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            cwd=REPOSITORY,
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                "XDG_CONFIG_HOME": str(self.home),
                "COLUMNS": "500",
            },
        )
        os.close(theirs)
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.terminate()
            await asyncio.wait_for(self.process.wait(), 30)
        while self._read():
            pass
        os.close(self._ours)

    def _read(self) -> bool:
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # nobody has the other end any more
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._ours)
            return False
        self.text += data.decode(errors="replace")
        self._more.set()
        return True


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


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 100))


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
            hello = Hello(mode=WireMode(1280, 720, 60), name=SHORT, launch=SHORT)
            for first in (
                hello.encode(),
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


# --- files --------------------------------------------------------------------------------------------------


def places(kind: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every value that a scenario may have: each is a place for a text."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        hints = typing.get_type_hints(kind, include_extras=True)
        for name, field in kind.model_fields.items():
            yield (*where, field.alias or name)
            yield from places(hints[name], (*where, field.alias or name))
        return
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        yield from places(inner[0], (*where, "[]"))
    elif origin is dict:
        yield (*where, "KEY")
        yield from places(inner[1], (*where, "name"))
    elif origin in {typing.Annotated, typing.Union, UnionType}:
        for part in inner[:1] if origin is typing.Annotated else inner:
            yield from places(part, where)


SCENARIO_PLACES = sorted(
    place
    for place in {*places(Scenario)}
    # Both directions, and the keys of a layer, are read by the same models.
    if "up" not in place[:-1] and not (place[0] == "layers" and len(place) > 3)
)


def planted(place: tuple[str, ...], text: str) -> Any:
    """Return a document with a text at one place."""
    value: Any = text
    for step in reversed(place):
        value = [value] if step == "[]" else {text: {}} if step == "KEY" else {step: value}
    return value


def test_the_places_of_a_scenario_are_found() -> None:
    assert len(SCENARIO_PLACES) > 100
    assert {
        ("name",),
        ("layers", "KEY"),
        ("layers", "name", "description"),
        ("link", "down", "loss", "rate"),
    } <= {*SCENARIO_PLACES}


@pytest.mark.parametrize("place", SCENARIO_PLACES, ids=".".join)
def test_a_text_anywhere_in_a_scenario_is_shown_as_text(
    place: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in (ATTACK + "\ud800", LONG):
        # JSON is YAML, and its escapes stand for what YAML takes in no other way.
        Path("hostile.yaml").write_text(json.dumps(planted(place, text)), encoding="utf-8")
        main(["run", "hostile.yaml", "--list"])
        out, err = capsys.readouterr()
        assert not harm(out + err)
        assert len(out + err) < 20_000


@pytest.mark.parametrize(
    "raw",
    [ATTACK.encode(), LONG.encode(), b"\xff\xfe\x1b[2J", b"\x1b" * 65536],
    ids=["short", "64 KiB", "not UTF-8", "escapes"],
)
def test_raw_bytes_in_a_scenario_are_shown_as_text(
    raw: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for around in (
        b"%s",
        b"media: {frames: 5} # %s",
        b"media:\n  frames: %s\n",
        b"medai: {%s: 1}",
        b"seed: '%s",
    ):
        Path("hostile.yaml").write_bytes(around % raw)
        assert main(["run", "hostile.yaml", "--list"]) == 2
        out, err = capsys.readouterr()
        assert not harm(out + err)
        assert len(out + err) < 20_000


def hostile(kind: Any, text: str) -> Any:  # noqa: PLR0911 - one a kind
    """Return a value of a type in which every text is the given one."""
    if kind in {str, Any, results.Status}:
        return "failed" if kind is results.Status else text
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        hints = typing.get_type_hints(kind)
        return {
            name: hostile(hints[name], text)
            for name in kind.model_fields
            if name not in {"schema_version", "backend", "spec_digest"}
        } | ({"backend": "sim"} if "backend" in kind.model_fields else {})
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return [hostile(inner[0], text)]
    if origin is tuple:
        return [hostile(one, text) for one in inner]
    if origin is dict:
        # Of a closed set of keys none can be hostile.
        keys = typing.get_args(inner[0]) if typing.get_origin(inner[0]) is typing.Literal else (text,)
        return {key: hostile(inner[1], text) for key in keys}
    if origin in {typing.Union, UnionType}:
        return hostile(inner[0], text)
    if origin is typing.Literal:
        return inner[0]
    return {int: 3, float: 1.5, bool: False}[kind]


@pytest.mark.parametrize("text", [ATTACK, LONG], ids=["short", "64 KiB"])
def test_a_result_file_full_of_hostile_texts_is_compared_and_reported_as_text(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    document = hostile(results.RunResult, text) | {"schema_version": results.SCHEMA_VERSION}
    document["cases"][0]["schema_version"] = results.SCHEMA_VERSION
    for name in ("a", "b"):
        Path(name).mkdir()
        document["cases"][0]["metrics"]["frames_submitted"] = {"value": ord(name), "unit": "frames"}
        document["cases"][0]["status"] = "passed"
        document["scenario"] = f"{text}{name}"
        document["cases"][0]["protocol"] = f"{text}{name}"
        document["environment"] = {"machine_class": f"{text}{name}", text: text}
        (Path(name) / "run.json").write_text(json.dumps(document))
    for command in (
        ["compare", "a", "b"],
        ["report", "a"],
        ["baseline", "a", "--folder", "kept"],
        ["calibrate", "a"],
        ["run", "--resume", f"x{SHORT}"],
    ):
        main(command)
        out, err = capsys.readouterr()
        assert not harm(out + err), command
        assert len(out + err) < 60_000, command
    written = [file for file in Path("a").iterdir() if file.suffix in {".html", ".md", ".xml"}]
    assert len(written) == 3
    for file in written:
        assert not harm(file.read_text(encoding="utf-8")), file


STATE_FILES = {
    "trust.json": {"schema_version": 1, "clients": [{"fingerprint": "ab", "name": "TEXT"}]},
    "settings.json": {"schema_version": 1, "settings": {"TEXT": "TEXT"}},
    "console.json": {"schema_version": 1, "password_hash": "TEXT"},
    "mgmt-token": "TEXT",
    "cert.pem": "TEXT",
}


@pytest.mark.parametrize("name", STATE_FILES)
def test_a_text_in_a_state_file_is_shown_as_text(name: str, tmp_path: Path) -> None:
    state = tmp_path / "punktfunk"
    state.mkdir(0o700)
    content = STATE_FILES[name]
    text = json.dumps(content) if isinstance(content, dict) else content
    for attack in (ATTACK, LONG):
        escaped = json.dumps(attack)[1:-1] if isinstance(content, dict) else attack
        (state / name).write_text(text.replace("TEXT", escaped))
        (state / name).chmod(0o600)

        async def scenario() -> None:
            serve = [
                "-v",
                "serve",
                "--no-gamestream",
                "--bind",
                "127.0.0.1",
                "--native-port",
                "0",
                "--no-mdns",
            ]
            host = Terminal([*serve, "--mgmt-bind", "127.0.0.1:0", "--source", "synthetic"], tmp_path)
            assert await host.run() in {2, 5}
            assert not harm(host.text)
            assert len(host.text) < 20_000
            assert "Traceback" not in host.text

        run(scenario())


@pytest.mark.parametrize("model", [punktfunk.HostConfig, punktfunk.ClientConfig])
def test_a_configuration_file_is_quoted_as_text(
    model: type[BaseModel], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def never(_config: BaseModel) -> int:
        raise AssertionError

    file = tmp_path / f"c{SHORT}.json"
    for document in ({LONG: 1}, {"bind": LONG}, {"source": {"kind": LONG}}, {"mode": LONG}):
        file.write_text(json.dumps(document))
        assert run_program("x", model, never, ["--config", str(file)]) == 2
        err = capfd.readouterr().err
        assert err
        assert not harm(err)
        assert len(err) < 10_000
