"""A client's gamepads: events become states, states reach the pads that programs see, rumble goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from punktfunk.desktop.pads import Pad, PadMaker, PadState
from punktfunk.errors import CapabilityError, DesktopError, PunktfunkError
from punktfunk.input import (
    MAX_PADS,
    TRIGGERS,
    InputEvent,
    InputKind,
    PadArrival,
    PadAxis,
    PadButtons,
    PadInput,
    PadRemoval,
    PadReport,
    Rumble,
)

REPEAT_S: Final = 0.5
"""A motor's state is told again this often, for datagrams get lost (punktfunk/1 section 3.3)."""
_STOP_REPEATS: Final = 4
"""How often a stop is repeated before there is nothing more to say: a lost one must not leave a motor on."""
_KNOWN_BUTTONS: Final = int(sum(PadButtons))


class PadStates:
    """What a client's pads report, gathered from single events (section 3.1). Needs no clock and no pad."""

    def __init__(self) -> None:
        self._states: dict[int, PadState] = {}

    def of(self, number: int) -> PadState:
        """Return the state of a pad."""
        return self._states.get(number, PadState())

    def take(self, event: InputEvent | PadReport | PadArrival) -> tuple[int, PadState] | None:
        """Return the pad's number and its new state; ``None`` for an event that means nothing."""
        number = event.pad
        if not 0 <= number < MAX_PADS:
            return None
        state = self.of(number)
        if isinstance(event, InputEvent):
            changed = self._changed(state, event)
            if changed is None:
                return None
            state = changed
        elif isinstance(event, PadReport):
            state = PadState(event.buttons & _KNOWN_BUTTONS, event.axes)
        self._states[number] = state
        return number, state

    def forget(self, number: int) -> None:
        """Let a pad that is gone begin at rest when it comes back."""
        self._states.pop(number, None)

    @staticmethod
    def _changed(state: PadState, event: InputEvent) -> PadState | None:
        if event.kind is InputKind.PAD_BUTTON:
            bit = event.code & _KNOWN_BUTTONS
            if not bit or event.code.bit_count() != 1:
                return None
            buttons = state.buttons | bit if event.x else state.buttons & ~bit
            return PadState(buttons, state.axes)
        if event.kind is InputKind.PAD_AXIS and event.code in set(PadAxis):
            low, high = (0, 255) if event.code in TRIGGERS else (-32768, 32767)
            axes = list(state.axes)
            axes[event.code] = max(low, min(high, event.x))
            return PadState(state.buttons, (axes[0], axes[1], axes[2], axes[3], axes[4], axes[5]))
        return None


class RumbleState:
    """What each pad's motors do, and when that has to be said again. Needs no clock."""

    def __init__(self) -> None:
        self._states: dict[int, tuple[int, int]] = {}
        self._stops: dict[int, int] = {}

    def change(self, number: int, low: int, high: int) -> Rumble:
        """Take note of a pad's motors; return what to send at once."""
        self._states[number] = (low, high)
        self._stops[number] = 0
        return Rumble(number, low, high)

    def due(self) -> Iterable[Rumble]:
        """Return what is to be repeated, REPEAT_S after the last time."""
        for number, (low, high) in self._states.items():
            if low or high:
                yield Rumble(number, low, high)
            elif self._stops[number] < _STOP_REPEATS:
                self._stops[number] += 1
                yield Rumble(number, 0, 0)

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to repeat any more."""
        return all(
            not any(state) and self._stops[number] >= _STOP_REPEATS for number, state in self._states.items()
        )


class GamepadRouter:
    """The pads of one stream. A pad is there from its first event that means something until ``close``.

    ``send`` gets the rumble for the client, ``refused`` why there are no pads here, once. Belongs to one event
    loop.
    """

    def __init__(
        self, make: PadMaker, send: Callable[[Rumble], None], refused: Callable[[PunktfunkError], None]
    ) -> None:
        self._make = make
        self._send = send
        self._refused = refused
        self._loop = asyncio.get_running_loop()
        self._states = PadStates()
        self._pads: dict[int, Pad] = {}
        self._plugging: dict[int, asyncio.Task[None]] = {}
        self._leaving: set[int] = set()
        """Pads that are being made, and whose client has lost them meanwhile."""
        self._rumble = RumbleState()
        self._timer: asyncio.TimerHandle | None = None
        self._none_here = self._resting = False

    @property
    def plugged_in(self) -> bool:
        """Whether there is a pad, or one is being made that is to stay."""
        return bool(self._pads or self._plugging.keys() - self._leaving)

    def inject(self, event: InputEvent | PadInput) -> bool:
        """Put in what a pad is or does; ``False`` when it means nothing here, or there are no pads."""
        if self._none_here:
            return False
        if isinstance(event, PadRemoval):
            return self._removed(event.pad)
        if not isinstance(event, InputEvent | PadReport | PadArrival):
            return False
        taken = self._states.take(event)
        if taken is None:
            return False
        number, state = taken
        pad = self._pads.get(number)
        if pad is not None:
            self._report(number, pad, state)
        elif number in self._plugging:
            self._leaving.discard(number)
        else:
            self._plugging[number] = self._loop.create_task(self._plug_in(number))
        return True

    def close(self) -> None:
        """Unplug every pad."""
        self._stop_repeating()
        for number in list(self._pads):
            self._unplug(number)
        self._none_here = True

    def rest(self) -> None:
        """Let go of everything that is held down, for the client is gone; the pads stay, and it may come back."""
        self._stop_repeating()
        self._send, self._refused, self._resting = (lambda _: None), (lambda _: None), True
        self._states = PadStates()
        for number, pad in list(self._pads.items()):
            self._report(number, pad, PadState())

    def adopt(self, send: Callable[[Rumble], None], refused: Callable[[PunktfunkError], None]) -> None:
        """Be a client's again: what its pads' motors do by now is sent at once.

        Where no pad could be made before, that is tried again, and refused to this client once.
        """
        self._send, self._refused, self._resting = send, refused, False
        self._none_here = False
        self._repeat()

    def _removed(self, number: int) -> bool:
        """Unplug a pad whose client has lost it; one that is being made is unplugged once it is there."""
        self._states.forget(number)
        if number in self._plugging:
            self._leaving.add(number)
        elif number in self._pads:
            self._unplug(number)
        else:
            return False
        return True

    async def _plug_in(self, number: int) -> None:
        """Make a pad, in a thread: the kernel and udev take their time."""
        try:
            pad = await asyncio.to_thread(
                self._make, number, lambda low, high: self._rumbles(number, low, high)
            )
        except CapabilityError as error:
            if not self._none_here:
                self._none_here = True
                self._refused(error)
            return
        finally:
            self._plugging.pop(number, None)
            lost = number in self._leaving
            self._leaving.discard(number)
        if self._none_here or lost:
            pad.close()
            return
        self._pads[number] = pad
        self._loop.add_reader(pad.fileno(), self._readable, number)
        self._report(number, pad, self._states.of(number))

    def _report(self, number: int, pad: Pad, state: PadState) -> None:
        try:
            pad.report(state)
        except DesktopError as error:
            self._unplug(number)
            self._refused(error)

    def _unplug(self, number: int) -> None:
        pad = self._pads.pop(number)
        self._loop.remove_reader(pad.fileno())
        pad.close()

    def _readable(self, number: int) -> None:
        try:
            self._pads[number].read()
        except DesktopError as error:
            self._unplug(number)
            self._refused(error)

    def _rumbles(self, number: int, low: int, high: int) -> None:
        self._send(self._rumble.change(number, low, high))
        if self._timer is None and not self._resting:
            self._timer = self._loop.call_later(REPEAT_S, self._repeat)

    def _stop_repeating(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _repeat(self) -> None:
        for rumble in self._rumble.due():
            self._send(rumble)
        self._timer = None if self._rumble.quiet else self._loop.call_later(REPEAT_S, self._repeat)
