"""A window that shows a stream and takes input for it: SDL 2 through PySDL2, which is loaded here and nowhere else.

Everything happens in the thread that opens the window. Decoded planes go into a texture as they are; the
graphics library converts and scales them, and keeps the picture's proportions.
"""

from __future__ import annotations

import ctypes
import importlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from punktfunk.client.keys import SCANCODE_F11, SCANCODE_M, SCANCODE_Q, VIRTUAL_KEY_OF_SCANCODE
from punktfunk.client.window_cursor import WindowCursor
from punktfunk.clock import monotonic_ns
from punktfunk.cursor import CursorUpdate
from punktfunk.errors import CapabilityError, MediaError
from punktfunk.input import NOTCH, InputEvent, InputKind, SurfaceSize
from punktfunk.media.types import PIXEL_FORMAT
from punktfunk.units import Resolution

if TYPE_CHECKING:
    import av

_PLANAR = {PIXEL_FORMAT, "yuvj420p"}
_BT709 = 2
"""``SDL_YUV_CONVERSION_BT709``, a name that PySDL2 does not have."""
HELP = "F11 full screen · Ctrl+Alt+Shift+M grabs the mouse · Ctrl+Alt+Shift+Q quits"


def load_sdl() -> Any:
    """Return the ``sdl2`` module; raise CapabilityError where PySDL2 or SDL itself is missing."""
    with warnings.catch_warnings():
        # It announces on standard error which of the installed libraries it took.
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("sdl2")
        except ImportError as error:
            raise CapabilityError(
                f"no window can be opened: {str(error).splitlines()[0]}",
                "pip install 'punktfunk[present]', or connect without --present",
            ) from error


class StreamWindow:
    """Show pictures, collect input. Raises CapabilityError where no window can be opened.

    Keys that the window keeps for itself: F11 (full screen), and with Control, Alt and Shift held M (grab the
    mouse: movement is sent instead of position) and Q (quit).
    """

    def __init__(self, title: str, size: Resolution) -> None:
        self.closed = False
        """Set once the user has closed the window."""
        self._sdl: Any = load_sdl()
        self._title = title
        self._size = size.width, size.height
        self._texture_size = 0, 0
        self._texture: Any = None
        self._down_keys: set[int] = set()
        self._down_buttons: set[int] = set()
        self._fullscreen = self._grabbed = False
        sdl = self._sdl
        if sdl.SDL_Init(sdl.SDL_INIT_VIDEO) != 0:
            raise self._unable("no display answers")
        sdl.SDL_SetHint(b"SDL_RENDER_SCALE_QUALITY", b"linear")
        sdl.SDL_SetYUVConversionMode(_BT709)
        self._window = sdl.SDL_CreateWindow(
            title.encode(),
            sdl.SDL_WINDOWPOS_CENTERED,
            sdl.SDL_WINDOWPOS_CENTERED,
            *self._size,
            sdl.SDL_WINDOW_RESIZABLE | sdl.SDL_WINDOW_ALLOW_HIGHDPI,
        )
        # Waiting for the screen's refresh would hold the stream up; the newest picture is shown at once.
        self._renderer = self._window and (
            sdl.SDL_CreateRenderer(self._window, -1, sdl.SDL_RENDERER_ACCELERATED)
            or sdl.SDL_CreateRenderer(self._window, -1, sdl.SDL_RENDERER_SOFTWARE)
        )
        if not self._renderer:
            error = self._unable("no window can be opened")
            sdl.SDL_Quit()
            raise error
        self._cursor = WindowCursor(sdl, self._renderer)
        self._pointed = True
        """Whether the user's own pointer is over the window, as far as that was told."""

    def show(self, picture: av.VideoFrame) -> int:
        """Show a picture and return when it was handed to the display, CLOCK_MONOTONIC ns."""
        sdl = self._sdl
        if picture.format.name not in _PLANAR:
            picture = picture.reformat(format=PIXEL_FORMAT)
        self._fit(picture.width, picture.height)
        planes: list[Any] = []
        for plane in picture.planes:
            planes += [ctypes.cast(plane.buffer_ptr, ctypes.POINTER(ctypes.c_ubyte)), plane.line_size]
        if sdl.SDL_UpdateYUVTexture(self._texture, None, *planes) != 0:
            raise self._broken("the picture was not taken")
        return self._render()

    def point(self, pointer: CursorUpdate) -> None:
        """Show the host's pointer so from now on, which is not in its pictures."""
        self._cursor.point(pointer)

    def refresh_cursor(self) -> None:
        """Draw the pointer where it is now over the picture that is shown, unless the window system shows it."""
        if self._texture is not None and self._cursor.needs_drawing:
            self._render()

    def _render(self) -> int:
        sdl = self._sdl
        sdl.SDL_RenderClear(self._renderer)
        sdl.SDL_RenderCopy(self._renderer, self._texture, None, None)
        self._cursor.draw()
        sdl.SDL_RenderPresent(self._renderer)
        return monotonic_ns()

    def say(self, text: str) -> None:
        """Put figures into the window's title."""
        self._sdl.SDL_SetWindowTitle(self._window, f"{self._title} · {text}".encode())

    def events(self) -> Iterator[InputEvent]:
        """Take what the user did since the last call, as input of the stream."""
        sdl, event = self._sdl, self._sdl.SDL_Event()
        while sdl.SDL_PollEvent(ctypes.byref(event)):
            kind = event.type
            if kind == sdl.SDL_QUIT:
                self.closed = True
            elif kind in (sdl.SDL_KEYDOWN, sdl.SDL_KEYUP):
                yield from self._key(event.key, pressed=kind == sdl.SDL_KEYDOWN)
            elif kind == sdl.SDL_MOUSEMOTION:
                yield self._motion(event.motion)
            elif kind in (sdl.SDL_MOUSEBUTTONDOWN, sdl.SDL_MOUSEBUTTONUP):
                yield from self._button(event.button, pressed=kind == sdl.SDL_MOUSEBUTTONDOWN)
            elif kind == sdl.SDL_MOUSEWHEEL:
                yield from _scroll(event.wheel)
            elif kind == sdl.SDL_WINDOWEVENT:
                yield from self._changed(event.window.event)

    def _changed(self, what: int) -> Iterator[InputEvent]:
        sdl = self._sdl
        if what in (sdl.SDL_WINDOWEVENT_ENTER, sdl.SDL_WINDOWEVENT_LEAVE):
            self._pointed = what == sdl.SDL_WINDOWEVENT_ENTER
        self._use_cursor()
        if what == sdl.SDL_WINDOWEVENT_FOCUS_LOST:
            yield from self._release()

    def _use_cursor(self) -> None:
        width, height = ctypes.c_int(), ctypes.c_int()
        self._sdl.SDL_GetWindowSize(self._window, ctypes.byref(width), ctypes.byref(height))
        scale = min(width.value / self._size[0], height.value / self._size[1])
        self._cursor.use(is_over=self._pointed and not self._grabbed, scale=scale)

    def close(self) -> None:
        """Close the window and free SDL. Closing twice is harmless."""
        sdl, self._sdl = self._sdl, None
        if sdl is not None:
            self._cursor.close()
            if self._texture is not None:
                sdl.SDL_DestroyTexture(self._texture)
            sdl.SDL_DestroyRenderer(self._renderer)
            sdl.SDL_DestroyWindow(self._window)
            sdl.SDL_Quit()

    def _fit(self, width: int, height: int) -> None:
        """Have a texture of the picture's size, scaled into the window without distortion."""
        if (width, height) == self._texture_size:
            return
        sdl = self._sdl
        if self._texture is not None:
            sdl.SDL_DestroyTexture(self._texture)
        self._texture = sdl.SDL_CreateTexture(
            self._renderer, sdl.SDL_PIXELFORMAT_IYUV, sdl.SDL_TEXTUREACCESS_STREAMING, width, height
        )
        if not self._texture:
            self._texture = None
            raise self._broken(f"no texture of {width}x{height}")
        sdl.SDL_RenderSetLogicalSize(self._renderer, width, height)
        self._texture_size = self._size = width, height
        self._use_cursor()

    def _key(self, event: Any, *, pressed: bool) -> Iterator[InputEvent]:
        scancode = event.keysym.scancode
        if pressed and self._own_key(scancode, event.keysym.mod, repeated=bool(event.repeat)):
            # The chord's modifiers must not stay down at the host.
            yield from self._release()
            return
        virtual_key = VIRTUAL_KEY_OF_SCANCODE.get(scancode)
        if virtual_key is None or event.repeat:
            # The host's own keyboard repeats what is held.
            return
        if pressed:
            self._down_keys.add(virtual_key)
            yield InputEvent(InputKind.KEY_DOWN, virtual_key)
        elif virtual_key in self._down_keys:
            self._down_keys.discard(virtual_key)
            yield InputEvent(InputKind.KEY_UP, virtual_key)

    def _own_key(self, scancode: int, modifiers: int, *, repeated: bool) -> bool:
        """Do what a key of the window's own asks for; ``False`` for every other key."""
        sdl = self._sdl
        held = all(modifiers & either for either in (sdl.KMOD_CTRL, sdl.KMOD_ALT, sdl.KMOD_SHIFT))
        if scancode == SCANCODE_F11:
            if not repeated:
                self._fullscreen = not self._fullscreen
                sdl.SDL_SetWindowFullscreen(
                    self._window, sdl.SDL_WINDOW_FULLSCREEN_DESKTOP if self._fullscreen else 0
                )
            return True
        if held and scancode == SCANCODE_Q:
            self.closed = True
            return True
        if held and scancode == SCANCODE_M:
            if not repeated:
                self._grabbed = not self._grabbed
                sdl.SDL_SetRelativeMouseMode(sdl.SDL_TRUE if self._grabbed else sdl.SDL_FALSE)
                self._use_cursor()
            return True
        return False

    def _motion(self, event: Any) -> InputEvent:
        if self._grabbed:
            return InputEvent(InputKind.MOUSE_MOVE, x=event.xrel, y=event.yrel)
        width, height = self._size
        # SDL reports in pixels of the picture, beyond its edges where the window has borders.
        x, y = min(max(event.x, 0), width - 1), min(max(event.y, 0), height - 1)
        return InputEvent(InputKind.MOUSE_ABSOLUTE, x=x, y=y, surface=SurfaceSize(width, height))

    def _button(self, event: Any, *, pressed: bool) -> Iterator[InputEvent]:
        # SDL numbers buttons as the protocol does: left, middle, right, X1, X2.
        number = event.button
        if not 1 <= number <= 5:
            return
        if pressed:
            self._down_buttons.add(number)
            yield InputEvent(InputKind.BUTTON_DOWN, number)
        elif number in self._down_buttons:
            self._down_buttons.discard(number)
            yield InputEvent(InputKind.BUTTON_UP, number)

    def _release(self) -> Iterator[InputEvent]:
        """Let go of everything: its release would go to another window."""
        for key in sorted(self._down_keys):
            yield InputEvent(InputKind.KEY_UP, key)
        for button in sorted(self._down_buttons):
            yield InputEvent(InputKind.BUTTON_UP, button)
        self._down_keys.clear()
        self._down_buttons.clear()

    def _unable(self, what: str) -> CapabilityError:
        return CapabilityError(
            f"{what}: {self._error()}", "is there a graphical session (WAYLAND_DISPLAY or DISPLAY)?"
        )

    def _broken(self, what: str) -> MediaError:
        return MediaError(f"the window failed: {what}: {self._error()}", "connect again")

    def _error(self) -> str:
        said: bytes = self._sdl.SDL_GetError() or b"no reason given"
        return said.decode(errors="replace")


def _scroll(event: Any) -> Iterator[InputEvent]:
    flipped = -1 if event.direction else 1
    for axis, clicks in ((0, event.preciseY), (1, event.preciseX)):
        if clicks:
            yield InputEvent(InputKind.SCROLL, axis, x=round(clicks * NOTCH) * flipped)
