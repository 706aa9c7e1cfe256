"""Input, sound and pads beside a live stream, in both directions."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import punktfunk
import punktfunk.native.host as session_module
from punktfunk.desktop.pads import PadState
from punktfunk.errors import CapabilityError
from punktfunk.input import (
    PAD_KINDS,
    WIRE_INPUT_KINDS,
    InputEvent,
    InputKind,
    Lightbar,
    Mic,
    Motion,
    PlayerLeds,
    Rumble,
    SurfaceSize,
    Touchpad,
    TriggerEffect,
)
from punktfunk.media import SyntheticSpec
from punktfunk.native.datagrams import Audio, FromHost
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Mode
from tests.support.hosts import send
from tests.support.waiting import soon

CONFIG = punktfunk.HostConfig(
    trust=OpenTrust.LOOPBACK, port=0, source=SyntheticSpec(frame_bytes=2000), mode=Mode(1280, 720, 60)
)
CLIENT = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)


class Recorder:
    """An input sink that remembers, and refuses pads."""

    takes_touch = False

    def __init__(self) -> None:
        self.events: list[InputEvent] = []
        self.stamps: list[int] = []
        self.released = 0

    def inject(self, event: InputEvent) -> bool:
        self.events.append(event)
        self.stamps.append(time.monotonic_ns())
        return event.kind not in (InputKind.PAD_BUTTON, InputKind.PAD_AXIS)

    def release_all(self) -> None:
        self.released += 1


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def test_every_kind_of_input_arrives_in_order_and_is_let_go_of_at_the_end() -> None:
    async def scenario() -> None:
        sink = Recorder()
        async with punktfunk.Host(CONFIG, input_sink=sink) as host:
            async with punktfunk.Client(f"127.0.0.1:{host.port}", CLIENT) as client:
                surface = SurfaceSize(1280, 720)
                sent = [
                    InputEvent(kind, n, -n, n, pad=n)
                    if kind in PAD_KINDS
                    else InputEvent(kind, n, -n, n, surface)
                    for n, kind in enumerate(sorted(WIRE_INPUT_KINDS))
                ]
                for event in sent:
                    client.send(event)
                await soon(lambda: len(sink.events) >= len(sent), "all events")
                assert sink.events == sent
                assert sink.released == 0
                client.stop()
                [report] = await host.sessions_over(1)
            assert report.datagrams["input"] == len(sent)
            assert report.datagrams["input_refused"] == 2
            assert sink.released == 1

    run(scenario())


def test_sound_and_rich_input_arrive_and_what_is_unknown_is_counted_only() -> None:
    async def scenario() -> None:
        taken: list[Any] = []
        async with punktfunk.Host(CONFIG) as host:
            host.sessions.peripherals.on_datagram = lambda _report, datagram: taken.append(datagram)
            async with punktfunk.Client(f"127.0.0.1:{host.port}", CLIENT) as client:
                sent = [Mic(0, 5, b"opus"), Touchpad(0, 1, True, 9, 9), Motion(0, (1, 2, 3), (4, 5, 6))]
                for datagram in sent:
                    client.send(datagram)
                link = client._connection._dialer.link  # type: ignore[union-attr]
                for nonsense in (b"\xee", b"\xc8", b"\xc8\x0c" + bytes(16), b""):
                    link.send_datagram(nonsense)
                client.send(Mic(1, 6, b""))
                await soon(lambda: len(taken) == 4, "what was sent")
                assert taken == [*sent, Mic(1, 6, b"")]
                client.stop()
                [report] = await host.sessions_over(1)
            counted = report.datagrams
            assert (counted["dropped_unknown_tag"], counted["dropped_unknown_kind"]) == (1, 1)
            assert (counted["dropped_short"], counted["dropped_empty"]) == (1, 1)
            assert (counted["mic"], counted["touchpad"], counted["motion"]) == (2, 1, 1)

    run(scenario())


def test_audio_rumble_and_hid_output_reach_the_client_that_they_are_for() -> None:
    async def scenario() -> None:
        heard: dict[int, list[FromHost]] = {1: [], 2: []}
        async with punktfunk.Host(CONFIG) as host:
            address = f"127.0.0.1:{host.port}"
            async with punktfunk.Client(address, CLIENT) as one, punktfunk.Client(address, CLIENT) as two:
                one.on_datagram, two.on_datagram = heard[1].append, heard[2].append
                await soon(lambda: len(host.live()) == 2, "both sessions")
                for_all: list[FromHost] = [Audio(0, 1, b"opus"), Rumble(0, 1, 2)]
                for_one: list[FromHost] = [
                    Lightbar(0, 1, 2, 3),
                    PlayerLeds(0, 4),
                    TriggerEffect(0, 1, bytes(11)),
                ]
                assert [send(host, datagram) for datagram in for_all] == [2, 2]
                assert [send(host, datagram, number=1) for datagram in for_one] == [1, 1, 1]
                assert send(host, Rumble(0, 0, 0), number=7) == 0
                await soon(lambda: len(heard[1]) == 5 and len(heard[2]) == 2, "what each is sent")
                assert heard == {1: [*for_all, *for_one], 2: for_all}
                assert two.datagrams == {"audio": 1, "rumble": 1}

    run(scenario())


def test_a_client_that_floods_datagrams_is_held_to_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "DATAGRAM_RATE_PER_S", 10)
    monkeypatch.setattr(session_module, "DATAGRAM_BURST", 20)

    async def scenario() -> None:
        sink = Recorder()
        async with punktfunk.Host(CONFIG, input_sink=sink) as host:
            async with punktfunk.Client(f"127.0.0.1:{host.port}", CLIENT) as client:
                for _ in range(200):
                    client.send(InputEvent(InputKind.MOUSE_MOVE, 0, 1, 1))
                await soon(lambda: len(sink.events) >= 20, "what may come at once")
                await asyncio.sleep(0.3)
                client.stop()
                [report] = await host.sessions_over(1)
            assert 20 <= len(sink.events) < 100
            assert report.datagrams["dropped_rate"] >= 50

    run(scenario())


class Motors:
    """A pad that remembers its states; its motors move when the test says so."""

    def __init__(self, number: int, on_rumble: Callable[[int, int], None]) -> None:
        self.number = number
        self.rumble = on_rumble
        self.states: list[PadState] = []
        self.closed = False
        self._ends = socket.socketpair()

    def fileno(self) -> int:
        return self._ends[0].fileno()

    def report(self, state: PadState) -> None:
        self.states.append(state)

    def read(self) -> None:
        low, high = self._ends[0].recv(2)
        self.rumble(low, high)

    def shake(self, low: int, high: int) -> None:
        self._ends[1].send(bytes([low, high]))

    def close(self) -> None:
        self.closed = True
        for end in self._ends:
            end.close()


def test_pads_are_plugged_in_by_their_first_event_rumble_until_stopped_and_go_with_the_client() -> None:
    async def scenario() -> None:
        pads: list[Motors] = []

        def make(number: int, on_rumble: Callable[[int, int], None]) -> Motors:
            pads.append(Motors(number, on_rumble))
            return pads[-1]

        async with punktfunk.Host(CONFIG) as host:
            host.sessions.peripherals.pad_maker = make
            async with punktfunk.Client(f"127.0.0.1:{host.port}", CLIENT) as client:
                felt: list[Rumble] = []
                client.on_datagram = lambda what: felt.append(what) if isinstance(what, Rumble) else None
                client.send(InputEvent(InputKind.PAD_BUTTON, 0x1000, 1, pad=2))
                client.send(InputEvent(InputKind.PAD_AXIS, 9, 5, pad=2))
                client.send(InputEvent(InputKind.PAD_AXIS, 4, 300, pad=2))
                await soon(
                    lambda: bool(pads and pads[0].states and pads[0].states[-1].axes[4]), "the pad's state"
                )
                assert pads[0].number == 2
                assert pads[0].states[-1] == PadState(0x1000, (0, 0, 0, 0, 255, 0))
                pads[0].shake(7, 9)
                await soon(lambda: len(felt) >= 3, "the rumble and its repeats")
                assert set(felt) == {Rumble(2, 7, 9)}
                pads[0].shake(0, 0)
                await soon(lambda: felt.count(Rumble(2, 0, 0)) >= 2, "repeats of the stop")
                assert Rumble(2, 7, 9) not in felt[felt.index(Rumble(2, 0, 0)) :]
                client.stop()
                [report] = await host.sessions_over(1)
            assert pads[0].closed
            assert (report.datagrams["input"], report.datagrams["input_refused"]) == (3, 1)

    run(scenario())


def test_a_machine_without_pads_says_so_once_and_refuses_their_events(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def scenario() -> None:
        tried, said = 0, ""

        def told() -> bool:
            nonlocal said
            said += capfd.readouterr().err
            return "no gamepad" in said

        def make(_number: int, _on_rumble: Callable[[int, int], None]) -> Motors:
            nonlocal tried
            tried += 1
            raise CapabilityError("no pads", "modprobe uinput")

        async with punktfunk.Host(CONFIG) as host:
            host.sessions.peripherals.pad_maker = make
            async with punktfunk.Client(f"127.0.0.1:{host.port}", CLIENT) as client:
                client.send(InputEvent(InputKind.PAD_BUTTON, 1, 1, pad=0))
                await soon(told, "a word of there being no pads")
                for pad in range(4):
                    client.send(InputEvent(InputKind.PAD_BUTTON, 1, 1, pad=pad))
                await soon(lambda: host.live()[0].datagrams["input_refused"] == 4, "four refusals")
                assert tried == 1
                client.stop()
                await host.sessions_over(1)

    run(scenario())
