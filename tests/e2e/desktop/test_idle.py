"""Idle held off by a surface that is mapped: not seen, and over with the compositor or when it is let go."""

from __future__ import annotations

import contextlib

from punktfunk.desktop.capture import WlrScreen, open_capture
from punktfunk.desktop.session import DesktopSession
from punktfunk.desktop.wayland.idle import IdleInhibitor
from punktfunk.media.planes import plane_view
from punktfunk.units import Mode
from tests.support.waiting import eventually

MODE = Mode(640, 480, 60)


def test_a_pixel_that_holds_idle_off_is_not_seen_and_goes_with_its_compositor(
    session: DesktopSession,
) -> None:
    screen = WlrScreen(display=session.socket, output=session.create(MODE).name)
    capture = open_capture(screen, MODE)

    def corner() -> list[list[int]]:
        planes = (plane_view(capture.capture().picture, index) for index in range(3))
        return [[int(value) for value in plane[:4, :4].flat] for plane in planes]

    with contextlib.closing(capture):
        before = corner()
        with contextlib.closing(IdleInhibitor(session.socket, mapped=True)) as held:
            assert (held.holds, held.mapped) == (True, True)
            assert corner() == before
        assert not held.holds
    with contextlib.closing(IdleInhibitor(session.socket)) as unmapped:
        assert not unmapped.mapped, "where one that is not mapped is enough"
    with contextlib.closing(IdleInhibitor(session.socket, mapped=True)) as held:
        session.close()
        eventually(lambda: not held.holds, "it ends with its compositor")
