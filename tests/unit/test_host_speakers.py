"""When a host's own speakers are silent: while all who listen to a desktop wish so, and somebody does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from punktfunk.errors import CapabilityError
from punktfunk.host.desktop import DesktopPool, OutputLease
from punktfunk.host.peripherals.router import Peripherals
from punktfunk.host.session_report import SessionReport
from punktfunk.media.sound import DEFAULT_SOUND
from punktfunk.units import Mode
from tests.support.waiting import soon
from tests.unit.test_sound_formats import Listener, Peer


class Speakers:
    """A desktop that is nowhere to be heard by streams, and says whether it plays here."""

    sound = None

    def __init__(self, *, can: bool = True) -> None:
        self.said: list[bool] = []
        self._can = can

    def play_here(self, playing: bool) -> None:
        self.said.append(playing)
        if not self._can:
            raise CapabilityError("there is no switch", "find one")

    def close(self) -> None: ...


class Room:
    """Peripherals, one desktop, and who listens to it."""

    def __init__(self, speakers: Speakers) -> None:
        self.speakers = speakers
        self.desktop = DesktopPool(speakers)  # type: ignore[arg-type]  # only its speakers are asked for
        self.streams: dict[Listener, SessionReport] = {}
        self.peripherals = Peripherals(lambda: iter(self.streams.items()), input_sink=None)

    def join(self, *, host_audio: bool) -> Listener:
        listener = Listener()
        report = SessionReport(
            len(self.streams) + 1, Peer(), Mode(2, 2, 1), None,
            _sound=DEFAULT_SOUND, _lease=OutputLease(self.desktop), _host_audio=host_audio,
        )  # fmt: skip
        self.streams[listener] = report
        self.peripherals.listen(listener, report)
        return listener

    def leave(self, listener: Listener) -> None:
        self.peripherals._deafen(listener)
        del self.streams[listener]

    async def say(self, *said: bool) -> None:
        """Wait until the desktop was told that, in that order, and nothing else."""
        await soon(lambda: self.speakers.said == list(said), f"the speakers are told {said}")


def run(test: Callable[[Room], Awaitable[None]], speakers: Speakers | None = None) -> None:
    async def whole() -> None:
        room = Room(speakers or Speakers())
        try:
            await test(room)
        finally:
            room.peripherals.nobody_streams()
            room.desktop.close()

    asyncio.run(whole())


def test_speakers_are_silent_while_all_who_listen_wish_so() -> None:
    async def test(room: Room) -> None:
        one = room.join(host_audio=False)
        await room.say(False)
        two = room.join(host_audio=False)
        three = room.join(host_audio=True)
        await room.say(False, True)
        room.leave(three)
        await room.say(False, True, False)
        room.leave(one)
        room.leave(two)
        await room.say(False, True, False, True)
        room.join(host_audio=False)
        room.peripherals.nobody_streams()
        await room.say(False, True, False, True, False, True)

    run(test)


def test_speakers_are_left_alone_where_nobody_wishes_them_silent() -> None:
    async def test(room: Room) -> None:
        room.leave(room.join(host_audio=True))
        room.join(host_audio=True)
        room.leave(room.join(host_audio=False))
        room.peripherals.nobody_streams()
        room.join(host_audio=False)
        await room.say(False)

    run(test)


def test_speakers_that_cannot_be_silenced_are_told_of_and_the_stream_goes_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def test(room: Room) -> None:
        said = ""

        def told() -> bool:
            nonlocal said
            said += capfd.readouterr().err
            return "there is no switch" in said

        listener = room.join(host_audio=False)
        await soon(told, "a warning")
        room.leave(listener)
        await room.say(False, True)

    run(test, Speakers(can=False))
