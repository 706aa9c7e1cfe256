"""sway's control socket: the i3 protocol, one request and its answer at a time."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any, Final, Self

from punktfunk.errors import DesktopError

_MAGIC: Final = b"i3-ipc"
_HEADER: Final = struct.Struct("=6sII")
_COMMAND, _GET_OUTPUTS, _GET_VERSION = 0, 3, 7
_ANSWER_LIMIT_S: Final = 5.0
_MAX_ANSWER_BYTES: Final = 1 << 24


class SwayIpc:
    """A connection to the socket at ``path`` (SWAYSOCK). Raises DesktopError where nobody answers."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_ANSWER_LIMIT_S)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise DesktopError(f"sway does not answer on {path}: {error}", "is SWAYSOCK stale?") from error

    def command(self, text: str) -> None:
        """Run one command; raise DesktopError with sway's words where it refuses."""
        for result in self._ask(_COMMAND, text):
            if not result.get("success"):
                raise DesktopError(f"sway refused {text!r}: {result.get('error', 'no reason given')}")

    def outputs(self) -> dict[str, dict[str, Any]]:
        """Return sway's description of each output by its name."""
        return {output["name"]: output for output in self._ask(_GET_OUTPUTS)}

    def version(self) -> tuple[int, int]:
        """Return sway's major and minor version."""
        answer = self._ask(_GET_VERSION)
        return int(answer["major"]), int(answer["minor"])

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, kind: int, text: str = "") -> Any:
        payload = text.encode()
        try:
            self._socket.sendall(_HEADER.pack(_MAGIC, len(payload), kind) + payload)
            magic, size, _ = _HEADER.unpack(self._read(_HEADER.size))
            if magic != _MAGIC or size > _MAX_ANSWER_BYTES:
                raise DesktopError("what answers on sway's socket does not speak its protocol")
            return json.loads(self._read(size))
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
