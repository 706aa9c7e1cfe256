"""The host's pointer in a window of SDL's dummy display: worn by the user's own, or drawn where the host's is."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest

from punktfunk.client import messages
from punktfunk.client.present import Presenter
from punktfunk.client.window import StreamWindow, load_sdl
from punktfunk.cursor import CursorShape, CursorUpdate, PackedShape
from punktfunk.media.planes import plane_view
from punktfunk.units import Resolution

WIDTH, HEIGHT = 64, 32
RED = CursorShape(4, 2, 1, 1, bytes((255, 0, 0, 255)) * 8)
HALF = CursorShape(2, 2, 0, 0, bytes((0, 255, 0, 128)) * 4)


@pytest.fixture(autouse=True)
def dummy(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sdl2")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_RENDER_DRIVER", "software")


@pytest.fixture
def window(dummy: None) -> Iterator[StreamWindow]:
    opened = StreamWindow("test", Resolution(WIDTH, HEIGHT))
    yield opened
    opened.close()


def black(width: int = WIDTH, height: int = HEIGHT) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, "yuv420p")
    for index, value in enumerate((16, 128, 128)):
        plane_view(frame, index)[...] = value
    return frame


def seen(window: StreamWindow) -> np.ndarray:
    """Return what the window shows, RGB."""
    sdl = load_sdl()
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    pointer = pixels.ctypes.data_as(ctypes.c_void_p)
    assert (
        sdl.SDL_RenderReadPixels(window._renderer, None, sdl.SDL_PIXELFORMAT_RGBA32, pointer, WIDTH * 4) == 0
    )
    return pixels[..., :3]


def tell(window: StreamWindow, event: int, *more: int) -> None:
    """Have the window system tell of the window."""
    sdl = load_sdl()
    told: Any = sdl.SDL_Event()
    told.type = sdl.SDL_WINDOWEVENT
    told.window.windowID = sdl.SDL_GetWindowID(window._window)
    told.window.event = event
    sdl.SDL_PushEvent(ctypes.byref(told))
    assert not list(window.events())


def test_it_is_drawn_where_the_hosts_is_while_the_users_own_is_elsewhere(window: StreamWindow) -> None:
    sdl = load_sdl()
    window.show(black())
    tell(window, sdl.SDL_WINDOWEVENT_LEAVE)
    for x, y in ((10, 5), (63, 31), (0, 0), (-20, 4), (30, 12)):
        window.point(CursorUpdate(True, x, y, RED))
        window.refresh_cursor()
        expected = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        left, top = x - 1, y - 1
        expected[max(top, 0) : max(top + 2, 0), max(left, 0) : max(left + 4, 0)] = (255, 0, 0)
        assert (seen(window) == expected).all(), (x, y)
    window.point(CursorUpdate(True, 30, 12, HALF))
    window.show(black())
    assert np.abs(seen(window)[12:14, 30:32, 1].astype(int) - 128).max() <= 1
    window.point(CursorUpdate(visible=False))
    window.refresh_cursor()
    assert not seen(window).any(), "and nothing of it stays"


def test_over_the_window_the_users_own_pointer_wears_its_shape_and_the_picture_is_left_alone(
    window: StreamWindow,
) -> None:
    sdl = load_sdl()

    def worn() -> int | None:
        return ctypes.cast(sdl.SDL_GetCursor(), ctypes.c_void_p).value

    usual = worn()
    window.show(black())
    assert worn() == usual, "a host that tells nothing changes nothing"
    window.point(CursorUpdate(True, 10, 5, RED))
    window.refresh_cursor()
    dressed = worn()
    assert dressed != usual
    assert not seen(window).any()
    window.point(CursorUpdate(True, 11, 5, RED))
    assert worn() == dressed, "a movement makes no other pointer"
    window.point(CursorUpdate(visible=False, x=11, y=5, shape=RED))
    assert sdl.SDL_ShowCursor(sdl.SDL_QUERY) == sdl.SDL_DISABLE
    window.point(CursorUpdate(True, 11, 5, HALF))
    assert sdl.SDL_ShowCursor(sdl.SDL_QUERY) == sdl.SDL_ENABLE
    assert worn() not in (usual, None)


def test_a_grabbed_mouse_has_it_drawn_and_an_entering_one_wears_it_again(window: StreamWindow) -> None:
    sdl = load_sdl()
    window.show(black())
    window.point(CursorUpdate(True, 10, 5, RED))
    window._grabbed = True
    window._use_cursor()
    window.refresh_cursor()
    assert seen(window).any()
    window._grabbed = False
    tell(window, sdl.SDL_WINDOWEVENT_ENTER)
    window.refresh_cursor()
    assert not seen(window).any()


def test_the_pointer_that_is_worn_is_as_large_as_the_picture_is_shown(window: StreamWindow) -> None:
    made: list[tuple[int, int, int, int]] = []
    sdl = window._sdl

    class Sdl:
        def __getattr__(self, name: str) -> Any:
            return getattr(sdl, name)

        def SDL_CreateColorCursor(self, surface: Any, hot_x: int, hot_y: int) -> Any:
            made.append((surface.contents.w, surface.contents.h, hot_x, hot_y))
            return sdl.SDL_CreateColorCursor(surface, hot_x, hot_y)

    window._cursor._sdl = Sdl()
    window.show(black())
    window.point(CursorUpdate(True, 10, 5, RED))
    sdl.SDL_SetWindowSize(window._window, 2 * WIDTH, 3 * HEIGHT)
    list(window.events())
    sdl.SDL_SetWindowSize(window._window, 200 * WIDTH, 200 * HEIGHT)
    list(window.events())
    assert made == [(4, 2, 1, 1), (8, 4, 2, 2), (256, 128, 64, 64)]


def test_a_presenter_draws_what_is_told_once_it_has_shape_and_place(dummy: None) -> None:
    sdl = load_sdl()
    presenter = Presenter("test", Resolution(WIDTH, HEIGHT))
    try:
        window = presenter._window
        window.show(black())
        presenter.point(messages.CursorMoved(3, 1, 10, 5))
        assert presenter.show() is None
        assert sdl.SDL_ShowCursor(sdl.SDL_QUERY) == sdl.SDL_ENABLE, (
            "the user's own stays until it has a shape"
        )
        tell(window, sdl.SDL_WINDOWEVENT_LEAVE)
        presenter.show()
        assert not seen(window).any()
        presenter.point(messages.CursorShaped(3, PackedShape.of(RED)))
        assert presenter.show() is None, "no picture is shown for it"
        assert seen(window)[4:6, 9:13].tolist() == [[[255, 0, 0]] * 4] * 2
    finally:
        presenter.close()
