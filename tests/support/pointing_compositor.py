"""A compositor that copies its output and tells its pointer beside it, as wlroots 0.20 does, flaws included.

Of a hot spot it tells a session that runs what is not 0, again and again, and not that x has become 0.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.copying_compositor import CopyingCompositor

SEAT = 5
ARGB8888 = 0
_ENTER, _LEAVE, _POSITION, _HOT_SPOT = range(4)
_CONSTRAINTS, _UNKNOWN = 1, 0


class PointingCompositor(CopyingCompositor):
    """One output and a pointer over it, which is nowhere at first.

    Its seat has none without ``has_pointer``; its sessions are told nothing without ``tells``, as those of an output
    whose pointer nobody thought of.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        *,
        has_pointer: bool = True,
        tells: bool = True,
        transform: int = 0,
        image_formats: tuple[int, ...] = (ARGB8888,),
    ) -> None:
        self.images_asked = 0
        self.fails_images = False
        """Whether no image can be copied."""
        self.next_image: NDArray[np.uint8] | None = None
        """What it looks like as soon as another session asks."""
        self._has_pointer, self._tells, self._image_formats = has_pointer, tells, image_formats
        self._inside, self._place, self._hot = False, (0, 0), (0, 0)
        self._image: NDArray[np.uint8] | None = None
        self._damaged = False
        """Whether there is an image that has not been copied."""
        self._sessions: dict[int, dict[str, Any]] = {}
        """What each has been told."""
        self._images = 0
        self._image_frame: dict[str, Any] = {}
        super().__init__(path, width, height)
        self.transform = transform
        self.globals = {**self.globals, SEAT: ("wl_seat", 1)}

    def point(self, x: int, y: int) -> None:
        """Move the pointer, which is in a plane of its own."""
        with self._lock:
            self._inside, self._place = True, (x, y)
            self._commit()

    def shape(self, image: NDArray[np.uint8], hot_x: int, hot_y: int) -> None:
        """Have it look like that: blue, green, red, alpha, colours multiplied by alpha."""
        with self._lock:
            self._change_image(image, hot_x, hot_y)

    def hide(self) -> None:
        """Take it out of its plane, as for want of one or where a program shows none."""
        with self._lock:
            self._inside = False
            self._commit()

    def _change_image(self, image: NDArray[np.uint8], hot_x: int, hot_y: int) -> None:
        former = None if self._image is None else self._image.shape
        self._image, self._hot, self._damaged = image, (hot_x, hot_y), True
        if image.shape != former and self._images:
            self._tell_image_layout()
        self._commit()

    def _commit(self) -> None:
        for number in self._sessions:
            self._tell_session(number)
        self._answer_image()

    def _tell_session(self, number: int) -> None:
        told = self._sessions[number]
        if self._inside != told["inside"]:
            self._send(number, _ENTER if self._inside else _LEAVE)
        told["inside"] = self._inside
        if not self._inside:
            return
        if self._place != told["place"]:
            self._send(number, _POSITION, *self._place)
        if self._hot[0] != 0 or self._hot[1] != told["hot_y"]:
            self._send(number, _HOT_SPOT, *self._hot)
        told["place"], told["hot_y"] = self._place, self._hot[1]

    def _tell_image_layout(self) -> None:
        height, width = (0, 0) if self._image is None else self._image.shape[:2]
        self._send(self._images, 0, width, height)
        for each in self._image_formats:
            self._send(self._images, 1, each)
        self._send(self._images, 4)

    def _answer_image(self) -> None:
        frame = self._image_frame
        if not frame.get("asked") or self._image is None or not self._damaged:
            return
        frame["asked"] = False
        fits = frame["buffer"].shape == self._image.shape
        if not fits or self.fails_images:
            self._send(frame["number"], 4, _UNKNOWN if fits else _CONSTRAINTS)
            return
        frame["buffer"][...], self._damaged = self._image, False
        self._send(frame["number"], 3)

    def _handle(self, number: int, opcode: int, body: bytes, descriptors: list[int]) -> None:
        kind, _ = self._objects[number]
        words = struct.unpack(f"={len(body) // 4}I", body)
        if kind in {"cursor_session", "images", "image_frame"}:
            self._handle_pointer(kind, opcode, number, words)
            return
        match kind, opcode:
            case "wl_registry", 0 if words[0] == SEAT:
                self._objects[words[-1]] = ("wl_seat", None)
                self._send(words[-1], 0, int(self._has_pointer))
            case "wl_seat", 0:
                assert self._has_pointer, "the client would be disconnected"
                self._objects[words[0]] = ("wl_pointer", None)
            case "ext_image_copy_capture_manager_v1", 1:
                self._objects[words[0]] = ("cursor_session", None)
                if self._tells:
                    self._sessions[words[0]] = {"inside": False, "place": (0, 0), "hot_y": 0}
                    self._tell_session(words[0])
                following, self.next_image = self.next_image, None
                if following is not None:
                    self._change_image(following, 0, 0)
            case _:
                super()._handle(number, opcode, body, descriptors)

    def _handle_pointer(self, kind: str, opcode: int, number: int, words: tuple[int, ...]) -> None:
        match kind, opcode:
            case "cursor_session", 0:
                self._sessions.pop(number, None)
                self._gone(number)
            case "cursor_session", 1:
                self._objects[words[0]] = ("images", None)
                self._images, self._damaged = words[0], True
                if self._tells:
                    self._tell_image_layout()
                else:
                    self._send(words[0], 5)
            case "images", 0:
                assert not self._image_frame, "one frame at a time"
                self._objects[words[0]] = ("image_frame", None)
                self._image_frame = {"number": words[0], "asked": False}
            case "images", 1:
                self._images = 0 if number == self._images else self._images
                self._gone(number)
            case "image_frame", _:
                self._handle_image_frame(opcode, number, words)

    def _handle_image_frame(self, opcode: int, number: int, words: tuple[int, ...]) -> None:
        match opcode:
            case 0:
                self._image_frame = {}
                self._gone(number)
            case 1:
                self._image_frame["buffer"] = self._objects[words[0]][1]
            case 3:
                self.images_asked += 1
                self._image_frame["asked"] = True
                self._answer_image()
