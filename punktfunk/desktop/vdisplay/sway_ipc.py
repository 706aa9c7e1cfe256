"""sway's control socket: the i3 protocol, one request and its answer at a time."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, Self

from punktfunk.clock import monotonic_ns
from punktfunk.errors import DesktopError

_MAGIC: Final = b"i3-ipc"
_HEADER: Final = struct.Struct("=6sII")
_COMMAND, _SUBSCRIBE, _GET_OUTPUTS, _GET_VERSION, _GET_INPUTS = 0, 2, 3, 7, 100
_EVENT: Final = 0x8000_0000
"""Set in the kind of what sway says unasked."""
_SOCKETS: Final = "sway-ipc.*.sock"
_MAX_SOCKETS: Final = 64
"""Of sways that have ended, with their sockets left behind, at most."""
_CREDENTIALS: Final = struct.Struct("=iII")
_ANSWER_LIMIT_S: Final = 5.0
_MAX_ANSWER_BYTES: Final = 1 << 24


def ipc_path_of(display: str) -> str | None:
    """Return the control socket of the sway that has the Wayland socket ``display``; None where that is no sway.

    SWAYSOCK may be that of a sway that has ended, or of another one: of that in which this compositor is a window.
    """
    named = os.environ.get("SWAYSOCK")
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or Path(display).parent)
    owner = _owner(display)
    paths = [*([named] if named else []), *sorted(str(path) for path in folder.glob(_SOCKETS))[:_MAX_SOCKETS]]
    return next((path for path in paths if owner is not None and _owner(path) == owner), None)


def _owner(path: str) -> int | None:
    """Return the number of the process that listens on a socket; None where nobody does."""
    try:
        asking, pid = _connected(path)
    except DesktopError:
        return None
    asking.close()
    return pid


def _connected(path: str) -> tuple[socket.socket, int]:
    """Return a connection to a socket, and the number of the process that listens there."""
    asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    asking.settimeout(_ANSWER_LIMIT_S)
    try:
        asking.connect(path)
        credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError as error:
        asking.close()
        raise DesktopError(f"sway does not answer on {path}: {error}", "is SWAYSOCK stale?") from error
    return asking, int(_CREDENTIALS.unpack(credentials)[0])


class RefusedError(DesktopError):
    """sway answered that it does not do it."""


class SwayIpc:
    """A connection to the socket at ``path`` (SWAYSOCK). Raises DesktopError where nobody answers.

    What the same sway was asked and did not answer is asked no more: the next question goes by another connection.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket, self._pid = _connected(path)
        self._unanswered = False

    def command(self, text: str) -> None:
        """Run one command; raise RefusedError with sway's words where it refuses."""
        for result in self._ask(_COMMAND, text):
            if not result.get("success"):
                raise RefusedError(f"sway refused {text!r}: {result.get('error', 'no reason given')}")

    def outputs(self) -> dict[str, dict[str, Any]]:
        """Return sway's description of each output by its name."""
        return {output["name"]: output for output in self._ask(_GET_OUTPUTS)}

    def version(self) -> tuple[int, int]:
        """Return sway's major and minor version."""
        answer = self._ask(_GET_VERSION)
        return int(answer["major"]), int(answer["minor"])

    def inputs(self) -> set[str]:
        """Return the names of the input devices that sway has."""
        return {str(device.get("name")) for device in self._ask(_GET_INPUTS)}

    def watch_inputs(self) -> None:
        """Have sway say on this connection when an input device comes."""
        if not self._ask(_SUBSCRIBE, '["input"]').get("success"):
            raise DesktopError("sway does not tell of its input devices")

    def has_inputs(self, names: Collection[str], limit_s: float) -> bool:
        """Wait until sway has input devices of these names; after :meth:`watch_inputs`. ``False``: not in that time."""
        deadline_ns = monotonic_ns() + int(limit_s * 1e9)
        missing = set(names)
        while True:
            missing -= self.inputs()
            if not missing:
                return True
            left_s = (deadline_ns - monotonic_ns()) / 1e9
            if left_s <= 0 or not select.select([self._socket], [], [], left_s)[0]:
                return False
            self._message()  # something has changed: look again

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, kind: int, text: str = "") -> Any:
        payload = text.encode()
        if self._unanswered:
            self._connect_again()
        self._unanswered = True
        try:
            self._socket.sendall(_HEADER.pack(_MAGIC, len(payload), kind) + payload)
        except OSError as error:
            raise DesktopError(f"sway did not answer: {error}") from error
        while True:
            said, answer = self._message()
            if not said & _EVENT:
                self._unanswered = False
                return answer

    def _connect_again(self) -> None:
        """Connect anew: on the former connection the answer to an earlier question would come first."""
        self._socket.close()
        self._socket, pid = _connected(self._path)
        if pid != self._pid:
            # Its outputs may have the same names, and are not those that were meant.
            raise DesktopError(f"another sway answers on {self._path}")

    def _message(self) -> tuple[int, Any]:
        try:
            magic, size, kind = _HEADER.unpack(self._read(_HEADER.size))
            if magic != _MAGIC or size > _MAX_ANSWER_BYTES:
                raise DesktopError("what answers on sway's socket does not speak its protocol")
            return kind, json.loads(self._read(size))
        except (OSError, ValueError) as error:
            raise DesktopError(f"sway did not answer: {error}") from error

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            if not part:
                raise DesktopError("sway closed its control socket")
            data += part
        return bytes(data)
