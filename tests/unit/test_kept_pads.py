"""Pads that stay when their client leaves: at rest, for that client and its desktop alone, as many as may be."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from punktfunk.desktop.pads import OnRumble, PadState
from punktfunk.errors import CapabilityError
from punktfunk.host.client_session import ClientSession
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.peripherals.gamepads import GamepadRouter
from punktfunk.host.peripherals.kept_pads import MAX_CLIENTS, KeptPads
from punktfunk.host.peripherals.router import Peripherals
from punktfunk.host.session_report import SessionReport
from punktfunk.input import PadButtons, PadFeedback, PadReport, Rumble
from punktfunk.log import Logger
from punktfunk.units import Mode
from tests.support.pads import FakePad
from tests.support.waiting import soon
from tests.unit.test_sound_formats import Listener

PRESSED = PadReport(1, PadButtons.B, (0, 0, 0, 0, 7, 0))


@dataclass(frozen=True)
class Peer:
    fingerprint: str
    address: tuple[str, int] = ("127.0.0.1", 1)


class Warnings(Logger):
    """Keeps what a session is warned of."""

    def __init__(self) -> None:
        super().__init__({})
        self.kept: list[tuple[str, Any]] = []

    def warning(self, event: str, **fields: Any) -> None:
        self.kept.append((event, fields["cause"]))


class Player(Listener):
    """A session that is told what its pads are to do."""

    def __init__(self) -> None:
        super().__init__()
        self.log = self.warnings = Warnings()
        self.felt: list[PadFeedback] = []

    def send_feedback(self, feedback: PadFeedback) -> None:
        self.felt.append(feedback)


@dataclass
class Room:
    """Peripherals of a host, who streams, and the pads that were made."""

    pads: list[FakePad] = field(default_factory=list)
    refusal: str = ""
    """Why no pad can be made, while that is so."""
    streams: list[tuple[ClientSession, SessionReport]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.peripherals = Peripherals(self._listening, input_sink=None)
        self.peripherals.pad_maker = self._make

    def _listening(self) -> Iterator[tuple[ClientSession, SessionReport]]:
        return iter(self.streams)

    def _make(self, number: int, on_rumble: OnRumble) -> FakePad:
        if self.refusal:
            raise CapabilityError(self.refusal, "add a rule of udev")
        self.pads.append(FakePad(number, on_rumble))
        return self.pads[-1]

    def begin(self, fingerprint: str, *, keep: bool = True) -> Player:
        """Have a client stream."""
        player = Player()
        number = 1 + max([report.number for _, report in self.streams], default=len(self.pads) * 10)
        report = SessionReport(number, Peer(fingerprint), Mode(2, 2, 1), None, _keep_pads=keep)
        self.streams.append((player, report))
        self.peripherals.session_begins(report)
        return player

    async def join(self, fingerprint: str, *, keep: bool = True) -> Player:
        """Have a client stream, and press something."""
        player = self.begin(fingerprint, keep=keep)
        before = self._presses()
        self.press(player)
        await soon(lambda: self._presses() > before, "its pad")
        return player

    def press(self, player: Player, pad: int = 1) -> None:
        report = next(report for session, report in self.streams if session is player)
        self.peripherals.take(player, report, replace(PRESSED, pad=pad))

    async def press_in_vain(self, player: Player, pad: int = 1) -> None:
        self.press(player, pad)
        await soon(lambda: player.warnings.kept, "why there is no pad")

    def _presses(self) -> int:
        return sum(state.buttons != 0 for pad in self.pads for state in pad.reports)

    def leave(self, player: Player) -> None:
        found = next(each for each in self.streams if each[0] is player)
        self.streams.remove(found)
        self.peripherals.session_over(*found)


def run(test: Callable[[Room], Awaitable[None]]) -> None:
    async def whole() -> None:
        room = Room()
        try:
            await test(room)
        finally:
            for player, _ in list(room.streams):
                room.leave(player)
            room.peripherals.kept_pads.close()
            assert all(pad.closed for pad in room.pads)

    asyncio.run(whole())


def test_a_client_that_comes_back_has_its_pads_and_what_their_motors_do_by_now() -> None:
    async def test(room: Room) -> None:
        first = await room.join("a")
        [pad] = room.pads
        room.leave(first)
        assert (pad.closed, pad.reports[-1]) == (False, PadState())
        pad.on_rumble(300, 40)
        assert first.felt == []
        second = await room.join("a")
        assert room.pads == [pad]
        assert pad.reports[-1] == PadState(PRESSED.buttons, PRESSED.axes)
        assert second.felt == [Rumble(1, 300, 40)]
        assert len(room.peripherals.kept_pads) == 0

    run(test)


def test_pads_are_kept_for_who_asks_alone_and_for_nobody_else() -> None:
    async def test(room: Room) -> None:
        room.leave(await room.join("a", keep=False))
        assert room.pads[0].closed
        room.leave(await room.join("b"))
        await room.join("c")
        assert [pad.closed for pad in room.pads] == [True, False, False]
        room.peripherals.kept_pads.unplug("c")
        assert not room.pads[2].closed, "those in use are not kept ones"
        room.peripherals.kept_pads.unplug("b")
        assert room.pads[1].closed

    run(test)


def test_what_a_client_leaves_whose_newer_session_has_pads_is_unplugged() -> None:
    async def test(room: Room) -> None:
        older = await room.join("a")
        await room.join("a")
        room.leave(older)
        assert [pad.closed for pad in room.pads] == [True, False]
        assert len(room.peripherals.kept_pads) == 0

    run(test)


def test_where_no_pad_can_be_made_a_client_that_comes_back_is_told_so_again_until_it_gets_one() -> None:
    async def test(room: Room) -> None:
        for why in ("not writable", "not writable still"):
            room.refusal = why
            player = room.begin("a")
            await room.press_in_vain(player)
            assert player.warnings.kept == [("no gamepad", why)]
            room.leave(player)
            assert len(room.peripherals.kept_pads) == 0, "nothing is there to be kept"
        room.refusal = ""
        await room.join("a")
        assert len(room.pads) == 1

    run(test)


def test_a_pad_that_could_not_be_made_is_tried_again_beside_those_that_were_kept() -> None:
    async def test(room: Room) -> None:
        player = await room.join("a")
        room.refusal = "too many"
        await room.press_in_vain(player, pad=2)
        room.leave(player)
        room.refusal = ""
        again = await room.join("a")
        assert len(room.pads) == 1
        room.press(again, pad=2)
        await soon(lambda: len(room.pads) == 2 and room.pads[1].reports, "the second pad")

    run(test)


def test_a_client_that_wishes_its_pads_kept_no_more_finds_none_without_touching_one() -> None:
    async def test(room: Room) -> None:
        room.leave(await room.join("a"))
        room.leave(await room.join("b"))
        room.begin("a", keep=False)
        assert [pad.closed for pad in room.pads] == [True, False]
        older = await room.join("b")
        room.begin("b", keep=False)
        room.leave(older)
        assert room.pads[1].closed, "the newer session of the client counts"
        assert len(room.peripherals.kept_pads) == 0

    run(test)


async def plugged_in() -> tuple[GamepadRouter, FakePad]:
    made: list[FakePad] = []

    def make(number: int, on_rumble: OnRumble) -> FakePad:
        made.append(FakePad(number, on_rumble))
        return made[-1]

    router = GamepadRouter(make, lambda _: None, lambda _: None)
    router.inject(replace(PRESSED, pad=0))
    await soon(lambda: made and made[0].reports, "a pad")
    return router, made[0]


class Screenless:
    """A desktop that nobody asks anything of."""

    def close(self) -> None: ...


def test_pads_of_another_desktop_and_of_one_client_too_many_go() -> None:
    async def test() -> None:
        kept = KeptPads()
        desktops = [DesktopPool(Screenless()) for _ in range(2)]  # type: ignore[arg-type]  # asked nothing
        router, pad = await plugged_in()
        kept.keep("a", desktops[0], router)
        assert kept.give_back(None, desktops[0]) is None
        assert kept.give_back("a", desktops[1]) is None
        assert pad.closed
        pads = []
        for number in range(MAX_CLIENTS + 1):
            router, pad = await plugged_in()
            pads.append(pad)
            kept.keep(str(number), desktops[0], router)
        assert [pad.closed for pad in pads] == [True] + [False] * MAX_CLIENTS
        assert kept.give_back("8", desktops[0]) is router
        kept.close()
        assert [pad.closed for pad in pads] == [True] * MAX_CLIENTS + [False]
        kept.keep("8", desktops[0], router)
        assert pads[-1].closed, "a host that ends keeps none"
        for desktop in desktops:
            desktop.close()

    asyncio.run(test())


def test_pads_that_were_refused_after_their_client_had_left_take_nobodys_place() -> None:
    gate = threading.Event()

    def refuse(_number: int, _on_rumble: OnRumble) -> FakePad:
        gate.wait()
        raise CapabilityError("not writable", "add a rule of udev")

    async def test() -> None:
        kept = KeptPads()
        pads = []

        async def leave(client: int) -> None:
            router, pad = await plugged_in()
            pads.append(pad)
            kept.keep(str(client), None, router)

        await leave(1)
        late = GamepadRouter(refuse, lambda _: None, lambda _: None)
        late.inject(PRESSED)
        kept.keep("late", None, late)
        assert len(kept) == 2, "its pad is being made"
        gate.set()
        await soon(lambda: not late.plugged_in, "the refusal")
        for client in range(2, MAX_CLIENTS + 1):
            await leave(client)
        assert len(kept) == MAX_CLIENTS
        assert not any(pad.closed for pad in pads)
        kept.close()
        assert all(pad.closed for pad in pads)

    asyncio.run(test())
