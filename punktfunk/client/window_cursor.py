"""The host's pointer in a window: the window system's own pointer gets its shape, and where that is not, it is drawn.

Over the window the user's own pointer is where the host's is about to be. With the host's shape it moves as fast as
this machine's screen, whatever the network does. While the mouse is grabbed, or elsewhere, the window system shows
none; then the shape is drawn into the picture at the host's place.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

from punktfunk.cursor import CursorShape, CursorUpdate

_MAX_SIDE: Final = 256
"""Pixels of a pointer of the window system; more, some refuse."""
_BYTES: Final = 4


class WindowCursor:
    """The pointer of one window; everything happens in the window's thread. ``sdl`` is the module."""

    def __init__(self, sdl: Any, renderer: Any) -> None:
        self._sdl = sdl
        self._renderer = renderer
        self._pointer: CursorUpdate | None = None
        """As the host has told it; ``None`` before it has, and then the window system's pointer is left as it is."""
        self._is_over = True
        """Whether the user's own pointer is over the window, and to be seen there."""
        self._scale = 1.0
        self._cursor: Any = None
        self._made: tuple[CursorShape, float] | None = None
        """What the window system's pointer was made of."""
        self._texture: Any = None
        self._textured: CursorShape | None = None
        self._drawn: tuple[CursorShape, int, int] | None = None
        """What the picture that is shown has in it."""

    @property
    def needs_drawing(self) -> bool:
        """Whether the picture that is shown has it elsewhere than it is, or otherwise."""
        return self._to_draw != self._drawn

    def point(self, pointer: CursorUpdate) -> None:
        """Show it so from now on."""
        self._pointer = pointer
        self._dress()

    def use(self, *, is_over: bool, scale: float) -> None:
        """Take note of whether the user's own pointer is to be seen over the window, and how large pictures are."""
        if (is_over, scale) != (self._is_over, self._scale):
            self._is_over, self._scale = is_over, scale
            self._dress()

    def draw(self) -> None:
        """Draw it over the picture that is being rendered, where the window system does not show it."""
        self._drawn = drawn = self._to_draw
        if drawn is None:
            return
        shape, x, y = drawn
        sdl = self._sdl
        if shape != self._textured:
            self._forget_texture()
            surface = self._surface(shape)
            self._texture = sdl.SDL_CreateTextureFromSurface(self._renderer, surface)
            sdl.SDL_FreeSurface(surface)
            sdl.SDL_SetTextureBlendMode(self._texture, sdl.SDL_BLENDMODE_BLEND)
            self._textured = shape
        place = sdl.SDL_Rect(x - shape.hot_x, y - shape.hot_y, shape.width, shape.height)
        sdl.SDL_RenderCopy(self._renderer, self._texture, None, ctypes.byref(place))

    def close(self) -> None:
        """Give the window system its own pointer back."""
        self._forget_texture()
        if self._cursor is not None:
            self._sdl.SDL_SetCursor(self._sdl.SDL_GetDefaultCursor())
            self._sdl.SDL_FreeCursor(self._cursor)
            self._cursor = None

    @property
    def _to_draw(self) -> tuple[CursorShape, int, int] | None:
        pointer = self._pointer
        if pointer is None or self._is_over or not pointer.visible or pointer.shape is None:
            return None
        return pointer.shape, pointer.x, pointer.y

    def _dress(self) -> None:
        """Have the window system show its pointer as the host's looks, or none where the host shows none."""
        pointer, sdl = self._pointer, self._sdl
        if pointer is None or not self._is_over:
            return
        if pointer.visible and pointer.shape is not None and self._made != (pointer.shape, self._scale):
            former, self._cursor = self._cursor, self._system_cursor(pointer.shape)
            sdl.SDL_SetCursor(self._cursor or sdl.SDL_GetDefaultCursor())
            if former is not None:
                sdl.SDL_FreeCursor(former)
            self._made = pointer.shape, self._scale
        sdl.SDL_ShowCursor(sdl.SDL_ENABLE if pointer.visible else sdl.SDL_DISABLE)

    def _system_cursor(self, shape: CursorShape) -> Any:
        """Return a pointer of the window system, as large as the picture is shown; ``None`` where it makes none."""
        sdl = self._sdl
        largest = _MAX_SIDE / max(shape.width, shape.height)
        scale = min(self._scale, largest)
        width, height = (max(1, round(side * scale)) for side in (shape.width, shape.height))
        surface = self._surface(shape)
        if (width, height) != (shape.width, shape.height):
            sdl.SDL_SetSurfaceBlendMode(surface, sdl.SDL_BLENDMODE_NONE)
            scaled = sdl.SDL_CreateRGBSurfaceWithFormat(0, width, height, 32, sdl.SDL_PIXELFORMAT_RGBA32)
            sdl.SDL_BlitScaled(surface, None, scaled, None)
            sdl.SDL_FreeSurface(surface)
            surface = scaled
        hot_x, hot_y = int(shape.hot_x * width / shape.width), int(shape.hot_y * height / shape.height)
        made = sdl.SDL_CreateColorCursor(surface, hot_x, hot_y)
        sdl.SDL_FreeSurface(surface)
        return made or None

    def _surface(self, shape: CursorShape) -> Any:
        """Return a surface of its own with the shape's pixels; whoever called frees it."""
        sdl = self._sdl
        surface = sdl.SDL_CreateRGBSurfaceWithFormat(
            0, shape.width, shape.height, 32, sdl.SDL_PIXELFORMAT_RGBA32
        )
        pixels, pitch = surface.contents.pixels, surface.contents.pitch
        row = shape.width * _BYTES
        for y in range(shape.height):
            ctypes.memmove(pixels + y * pitch, shape.rgba[y * row : (y + 1) * row], row)
        return surface

    def _forget_texture(self) -> None:
        if self._texture is not None:
            self._sdl.SDL_DestroyTexture(self._texture)
        self._texture = self._textured = None
