"""A pad that programs would see: it keeps what it reports, and its motors move when the test says so."""

from __future__ import annotations

import os

from punktfunk.desktop.pads import OnRumble, PadState


class FakePad:
    """One pad, plugged in until it is closed."""

    def __init__(self, number: int, on_rumble: OnRumble) -> None:
        self.number, self.on_rumble = number, on_rumble
        self.reports: list[PadState] = []
        self.closed = False
        self._readable, self._other = os.pipe()

    def fileno(self) -> int:
        return self._readable

    def report(self, state: PadState) -> None:
        self.reports.append(state)

    def read(self) -> None: ...

    def close(self) -> None:
        self.closed = True
        os.close(self._readable)
        os.close(self._other)
