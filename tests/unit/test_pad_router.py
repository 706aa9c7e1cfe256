"""Pads that wires tell whole: they arrive, report, are lost while they are made; what has no place is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from punktfunk.desktop.pads import OnRumble, PadState
from punktfunk.errors import PunktfunkError
from punktfunk.host.peripherals.gamepads import GamepadRouter
from punktfunk.input import (
    BatteryState,
    InputKind,
    PadArrival,
    PadBattery,
    PadButtons,
    PadCapability,
    PadInput,
    PadModel,
    PadMotion,
    PadRemoval,
    PadReport,
    PadSensor,
    PadTouch,
    Rumble,
)
from tests.support.pads import FakePad
from tests.support.waiting import soon

REST = (0, 0, 0, 0, 0, 0)
PRESSED = PadReport(2, PadButtons.A | PadButtons.PADDLE_1, (1, 2, 3, 4, 5, 6))


def arrival(pad: int) -> PadArrival:
    return PadArrival(pad, PadModel.XBOX, PadCapability.RUMBLE, PadButtons.A)


class Pads:
    """Makes pads that keep what they report; a held ``gate`` has the making of them take its time."""

    def __init__(self) -> None:
        self.made: list[FakePad] = []
        self.sent: list[Rumble] = []
        self.refused: list[PunktfunkError] = []
        self.gate = threading.Event()
        self.gate.set()
        self.router = GamepadRouter(self.make, self.sent.append, self.refused.append)

    def make(self, number: int, on_rumble: OnRumble) -> FakePad:
        self.gate.wait()
        pad = FakePad(number, on_rumble)
        self.made.append(pad)
        return pad


def with_pads(test: Callable[[Pads], Awaitable[None]]) -> None:
    async def whole() -> None:
        pads = Pads()
        try:
            await test(pads)
        finally:
            pads.gate.set()
            pads.router.close()

    asyncio.run(whole())


def test_a_pad_is_plugged_in_as_it_arrives_and_reports_whole_states() -> None:
    async def run(pads: Pads) -> None:
        assert pads.router.inject(arrival(2))
        await soon(lambda: pads.made and pads.made[0].reports, "a pad")
        assert pads.made[0].number == 2
        assert pads.router.inject(PRESSED)
        assert pads.made[0].reports == [PadState(), PadState(PRESSED.buttons, PRESSED.axes)]
        pads.router.close()
        assert pads.made[0].closed

    with_pads(run)


def test_a_pad_that_its_client_lost_is_unplugged_and_comes_back_at_rest() -> None:
    async def run(pads: Pads) -> None:
        pads.router.inject(PRESSED)
        await soon(lambda: pads.made and pads.made[0].reports, "a pad")
        assert pads.router.inject(PadRemoval(2))
        assert pads.made[0].closed
        assert not pads.router.inject(PadRemoval(2)), "it is gone"
        pads.router.inject(arrival(2))
        await soon(lambda: len(pads.made) == 2 and pads.made[1].reports, "another one")
        assert pads.made[1].reports == [PadState()]

    with_pads(run)


def test_a_pad_that_is_lost_while_it_is_made_is_unplugged_at_once() -> None:
    async def run(pads: Pads) -> None:
        pads.gate.clear()
        pads.router.inject(arrival(2))
        assert pads.router.inject(PadRemoval(2))
        pads.gate.set()
        await soon(lambda: pads.made and pads.made[0].closed, "the pad to be gone")
        assert pads.made[0].reports == []

    with_pads(run)


def test_a_pad_that_is_lost_and_back_while_it_is_made_stays() -> None:
    async def run(pads: Pads) -> None:
        pads.gate.clear()
        for event in (PRESSED, PadRemoval(2), arrival(2)):
            assert pads.router.inject(event)
        pads.gate.set()
        await soon(lambda: pads.made and pads.made[0].reports, "the pad")
        assert pads.made[0].reports == [PadState()], "and what was pressed before is not"
        assert not pads.made[0].closed

    with_pads(run)


def test_what_no_pad_here_has_is_refused() -> None:
    async def run(pads: Pads) -> None:
        nothing: list[PadInput] = [
            PadMotion(0, PadSensor.GYROSCOPE, 1, 2, 3),
            PadTouch(0, 0, 0, InputKind.TOUCH_DOWN, 0.5, 0.5, 1),
            PadBattery(0, BatteryState.FULL, 100),
            PadReport(16, PadButtons.A, REST),
            arrival(16),
            PadRemoval(16),
        ]
        assert [event for event in nothing if pads.router.inject(event)] == []
        assert pads.made == []

    with_pads(run)
