"""Whether the PipeWire server that ran at one time still runs: a connection that says nothing, and is looked at."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path
from typing import Final

_SOCKET: Final = "pipewire-0"


class ServerWatch:
    """Looks at the server that runs now; a restarted one is another, also where its socket is systemd's."""

    def __init__(self) -> None:
        folder = os.environ.get("PIPEWIRE_RUNTIME_DIR") or os.environ.get("XDG_RUNTIME_DIR") or "/run"
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(Path(folder) / (os.environ.get("PIPEWIRE_REMOTE") or _SOCKET)))
        except OSError:
            self.close()

    @property
    def hung_up(self) -> bool:
        """Whether that server has ended; there may have been none."""
        return self._socket is None or has_hung_up(self._socket.fileno())

    def close(self) -> None:
        """Look no more. Closing twice is harmless."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def has_hung_up(descriptor: int) -> bool:
    """Return whether the server at the other end of a connection has ended."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))
