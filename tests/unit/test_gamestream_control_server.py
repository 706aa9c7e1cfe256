"""The control port on loopback: whose a connection is, what passes either way, and every end of it (section 10)."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec

import pytest

from punktfunk.errors import CapabilityError
from punktfunk.gamestream import control
from punktfunk.gamestream.control_cipher import ControlCipher
from punktfunk.gamestream.input import EnableHaptics, Magic
from punktfunk.host.gamestream import control_connection, control_server
from punktfunk.host.gamestream.control_connection import ControlConnection
from punktfunk.host.gamestream.control_owner import ControlKeys
from punktfunk.host.gamestream.control_server import ControlServer
from punktfunk.input import (
    InputEvent,
    InputKind,
    Lightbar,
    MotionWanted,
    PadArrival,
    PadButtons,
    PadCapability,
    PadModel,
    PadSensor,
    PlayerLeds,
    Rumble,
    TriggerRumble,
)
from tests.support.gamestream import free_ports
from tests.support.gamestream_control import RIKEY, ControlClient, Owner, WaitingSession
from tests.support.waiting import soon as soon_that

DATA = 0x7E6F02E3
P = ParamSpec("P")


def in_a_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Have a test run in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def whole() -> None:
            await test(*args, **kwargs)

        asyncio.run(whole())

    return run


async def soon(holds: Callable[[], object]) -> None:
    """Wait until it is so at the control port."""
    await soon_that(holds, "what the test waits for at the control port")


MOVE = InputEvent(InputKind.MOUSE_MOVE, x=1, y=1)


class Port:
    """A control server, its owner, and clients of it."""

    def __init__(self, bind: str) -> None:
        self.owner = Owner()
        self.server = ControlServer(bind, free_ports().control, self.owner)
        self.clients: list[ControlClient] = []

    def client(self, *, to: str = "127.0.0.1", rikey: bytes = RIKEY, v2: bool = True) -> ControlClient:
        address = (to, self.server.port, 0, 0) if ":" in to else (to, self.server.port)
        made = ControlClient(address, rikey=rikey, v2=v2, bind="::1" if ":" in to else "127.0.0.1")
        self.clients.append(made)
        return made

    async def started(self, data: int = DATA, *, v2: bool = True) -> tuple[WaitingSession, ControlClient]:
        """Return a session and its client, which has sent Start A."""
        session, client = self.owner.expect(data, v2=v2), self.client(v2=v2)
        client.connect(data)
        await soon(lambda: "connected" in client.kinds)
        client.say(control.IdrRequest())
        await soon(lambda: session in self.owner.arrived)
        return session, client


@asynccontextmanager
async def opened(bind: str = "127.0.0.1") -> AsyncIterator[Port]:
    port = Port(bind)
    port.server.open()
    try:
        yield port
    finally:
        for client in port.clients:
            client.close()
        port.server.close()


@pytest.mark.conformance(69)
@pytest.mark.parametrize("v2", [True, False])
@in_a_loop
async def test_a_client_starts_and_both_sides_hear_each_other(v2: bool) -> None:
    async with opened() as port:
        session, client = await port.started(v2=v2)
        client.say(control.StartB())
        client.put_in(MOVE)
        await soon(lambda: len(port.owner.heard) == 3)
        assert port.owner.messages == [control.IdrRequest(), control.StartB(), MOVE]
        hdr = control.HdrMode(True, control.HdrMetadata(max_luminance=1000))
        assert port.server.send(session, hdr)
        await soon(lambda: client.heard == [hdr])


@pytest.mark.conformance(68)
@in_a_loop
async def test_a_connect_with_wrong_data_belongs_to_no_session() -> None:
    async with opened() as port:
        port.owner.expect(DATA)
        client = port.client()
        client.connect(DATA ^ 1)
        await soon(lambda: port.server.counters["refused"] >= 1)
        assert (port.owner.arrived, client.kinds) == ([], [])


@pytest.mark.conformance(68)
@in_a_loop
async def test_who_knows_the_number_and_not_the_key_is_nobody() -> None:
    async with opened() as port:
        session = port.owner.expect(DATA)
        guesser = port.client(rikey=bytes(16))
        guesser.connect(DATA)
        await soon(lambda: "connected" in guesser.kinds)
        guesser.say(control.IdrRequest())
        await soon(lambda: session.dropped_datagrams["dropped_unopened"] == 1)
        assert port.owner.arrived == []
        own = port.client()
        own.connect(DATA)
        await soon(lambda: "connected" in own.kinds)
        own.say(control.IdrRequest())
        await soon(lambda: port.owner.arrived == [session])
        await soon(lambda: "disconnected" in guesser.kinds)
        assert port.server.counters["unproven"] == 1
        late = port.client()
        late.connect(DATA)
        await soon(lambda: port.server.counters["refused"] >= 1)
        assert own.kinds == ["connected"], "the session has its client"


@in_a_loop
async def test_further_guessers_take_each_others_place() -> None:
    async with opened() as port:
        port.owner.expect(DATA)
        guessers = [port.client(rikey=bytes(16)) for _ in range(control_server.MAX_UNPROVEN + 1)]
        for guesser in guessers:
            guesser.connect(DATA)
            await soon(lambda g=guesser: "connected" in g.kinds)  # type: ignore[misc]
        await soon(lambda: "disconnected" in guessers[0].kinds)
        assert [g.kinds for g in guessers[1:]] == [["connected"]] * control_server.MAX_UNPROVEN


@pytest.mark.conformance(69)
@in_a_loop
async def test_tampered_repeated_and_plain_messages_are_dropped_and_the_session_goes_on() -> None:
    async with opened() as port:
        session, client = await port.started()
        sealed = client.say(control.StartB())
        await soon(lambda: control.StartB() in port.owner.messages)
        client.send(sealed)
        client.send(sealed[:-1] + bytes([sealed[-1] ^ 1]))
        client.send(control.encode_from_client(control.StartB()))
        client.send(b"")
        await soon(lambda: session.dropped_datagrams["dropped_unopened"] == 4)
        client.say(control.IdrRequest())
        await soon(lambda: len(port.owner.heard) == 3)
        assert port.owner.messages == [control.IdrRequest(), control.StartB(), control.IdrRequest()]


@pytest.mark.conformance(73)
@in_a_loop
async def test_a_host_survives_whatever_types_clients_have() -> None:
    async with opened() as port:
        session, client = await port.started()
        client.say(control.FecStatus(1, 0x2E, 0x0A, 6, 44, 3, 38, 3, 5, 0, 1))
        client.say(control.LongTermAck(7))
        for kind in (0x0201, 0x3000, 0x3001, 0x3002, 0x0204, 0x0305, 0xFFFF):
            client.send(client.seal(kind.to_bytes(2, "little") + b"\2\0\0\0"))
        for inner in (b"", b"\2", b"\6\2\xff\xff", b"\6\2\4\0\0\0\0\0"):
            client.send(client.seal(inner))
        client.say(control.StartB())
        await soon(lambda: control.StartB() in port.owner.messages)
        assert [type(m) for m in port.owner.messages[1:]] == [
            control.FecStatus,
            control.LongTermAck,
            control.StartB,
        ]
        assert session.dropped_datagrams == {
            "dropped_unused_type": 4,
            "dropped_unknown_type": 2,
            "dropped_short": 5,
        }


@pytest.mark.conformance(72)
@in_a_loop
async def test_pads_are_told_what_they_can_do_once_their_client_takes_it() -> None:
    async with opened() as port:
        session, client = await port.started()
        send = port.server.send
        assert not send(session, Rumble(0, 1, 2)), "before haptics are enabled"
        arrival = PadArrival(
            1, PadModel.PLAYSTATION, PadCapability.LIGHT | PadCapability.GYROSCOPE, PadButtons.A
        )
        client.put_in(arrival)
        client.put_in(EnableHaptics())
        await soon(lambda: client.heard == [Rumble(0, 1, 2)])
        assert arrival in port.owner.messages
        assert send(session, Rumble(0, 0, 0))
        assert not send(session, Rumble(0, 0, 0)), "it is off already"
        assert send(session, Lightbar(1, 1, 2, 3))
        assert send(session, MotionWanted(1, PadSensor.GYROSCOPE, 100))
        for unable in (
            Rumble(1, 1, 1),
            TriggerRumble(1, 1, 1),
            MotionWanted(1, PadSensor.ACCELEROMETER, 100),
            Lightbar(0, 1, 2, 3),
            TriggerRumble(0, 1, 1),
            PlayerLeds(1, 1),
        ):
            assert not send(session, unable), unable
        await soon(lambda: len(client.heard) == 4)
        assert client.heard[1:] == [
            Rumble(0, 0, 0),
            Lightbar(1, 1, 2, 3),
            MotionWanted(1, PadSensor.GYROSCOPE, 100),
        ]


@pytest.mark.conformance(74)
@in_a_loop
async def test_a_client_that_leaves_is_acknowledged_at_once() -> None:
    async with opened() as port:
        session, client = await port.started()
        begun = asyncio.get_running_loop().time()
        client.leave()
        await soon(lambda: "disconnected" in client.kinds)
        assert client.events[-1].cause == "local", "acknowledged, not given up"
        assert asyncio.get_running_loop().time() - begun < 1
        assert port.owner.lost == [(session, "the client left")]
        assert not port.server.send(session, control.HdrMode(False))


@pytest.mark.conformance(72)
@in_a_loop
async def test_a_session_that_ends_is_told_why_before_it_is_disconnected() -> None:
    async with opened() as port:
        session, client = await port.started()
        port.server.end(session, 0x800E9403, "unpaired")
        port.server.end(session)
        await soon(lambda: port.owner.lost == [(session, "unpaired")])
        await soon(lambda: "disconnected" in client.kinds)
        assert client.heard == [control.Termination(0x800E9403)]


@in_a_loop
async def test_a_session_ends_without_its_clients_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "END_S", 0.05)
    async with opened() as port:
        session, client = await port.started()
        client.silent = True
        port.server.end(session)
        await soon(lambda: port.owner.lost == [(session, "ended by the host")])
        never = port.owner.expect(1)
        port.server.end(never)
        assert port.owner.lost[1:] == [(never, "ended by the host")], "it had no client"


@in_a_loop
async def test_a_silent_client_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "SILENCE_NS", 100_000_000)
    async with opened() as port:
        session, client = await port.started()
        client.silent = True
        await soon(lambda: port.owner.lost == [(session, "the client is silent")])


@in_a_loop
async def test_a_guesser_without_a_key_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "PROOF_NS", 100_000_000)
    async with opened() as port:
        port.owner.expect(DATA)
        guesser = port.client()
        guesser.connect(DATA)
        await soon(lambda: guesser.kinds == ["connected", "disconnected"])
        assert port.owner.lost == []


@pytest.mark.conformance(75)
@in_a_loop
async def test_two_clients_have_a_session_each() -> None:
    async with opened() as port:
        (first, one), (second, two) = await port.started(1), await port.started(2)
        one.put_in(MOVE)
        two.put_in(InputEvent(InputKind.BUTTON_DOWN, 1))
        await soon(lambda: len(port.owner.heard) == 4)
        assert dict(port.owner.heard[2:]) == {first: MOVE, second: InputEvent(InputKind.BUTTON_DOWN, 1)}
        one.leave()
        await soon(lambda: port.owner.lost == [(first, "the client left")])
        assert port.server.send(second, control.HdrMode(False))
        await soon(lambda: two.heard == [control.HdrMode(False)])


@pytest.mark.parametrize("to", ["127.0.0.1", "127.0.0.2", "::1"])
@in_a_loop
async def test_answers_leave_from_the_address_that_was_sent_to(to: str) -> None:
    if to == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    async with opened("*") as port:
        port.owner.expect(DATA)
        client = port.client(to=to)
        client.connect(DATA)
        await soon(lambda: "connected" in client.kinds)
        assert {source[:2] for source in client.sources} == {(to, port.server.port)}


@in_a_loop
async def test_a_taken_port_is_told() -> None:
    async with opened() as port:
        with pytest.raises(CapabilityError, match="the control port"):
            ControlServer("127.0.0.1", port.server.port, port.owner).open()


def test_more_messages_than_anybody_needs_are_dropped() -> None:
    session = WaitingSession()
    connection = ControlConnection(ControlKeys(session, RIKEY, v2=True), 0)
    client = ControlCipher(RIKEY, "client", v2=True)
    taken = sum(
        connection.opened(client.seal(b""), now_ns=0) is not None
        for _ in range(control_connection.BURST + 10)
    )
    assert taken == control_connection.BURST
    assert session.dropped_datagrams == {"dropped_rate": 10}
    assert connection.opened(client.seal(b"later"), now_ns=1_000_000) == b"later"


def test_a_text_counts_as_many_messages_as_it_has_characters() -> None:
    """64 to a message, a client's flood of them had held the host for a second."""
    session = WaitingSession()
    connection = ControlConnection(ControlKeys(session, RIKEY, v2=True), 0)
    client = ControlCipher(RIKEY, "client", v2=True)
    magic = Magic.TEXT.to_bytes(4, "little")
    text = control.encode_from_client(control.Input((68).to_bytes(4, "big") + magic + b"a" * 64))
    events = 0
    for _ in range(control_connection.BURST):
        inner = connection.opened(client.seal(text), now_ns=0)
        events += 0 if inner is None else len(list(connection.read(inner)))
    assert control_connection.BURST <= events < control_connection.BURST + 64
