"""A program that outlives its host by a moment: it takes away the outputs that the host made in a sway and left there.

It is run by its path, ``holder_program.py SOCKET``, and imports nothing but the standard library, so that it is up at
once and nothing of the host's can break it. Each line of its standard input is a JSON object: ``made``, the names of
outputs that are to be taken away, and ``before``, the names of all that there were when one more was asked for, or
null. At the end of the file it does what the last line says.
"""

import json
import signal
import socket
import struct
import sys
from typing import Any

_HEADER = struct.Struct("=6sII")
_COMMAND, _GET_OUTPUTS = 0, 3
_LIMIT_S = 5.0
_OURS = "HEADLESS-"
"""How the name of every output begins that can be made."""


def main() -> None:
    """Wait for the end of the host, and clear up after it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    last = b""
    for line in sys.stdin.buffer:
        if line.endswith(b"\n"):
            last = line
    said = json.loads(last) if last else {"made": [], "before": None}
    if said["made"] or said["before"] is not None:
        clear(sys.argv[1], said["made"], said["before"])


def clear(path: str, made: list[str], before: list[str] | None) -> None:
    """Take away what was made, and what has come since ``before`` was read."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sway:
        sway.settimeout(_LIMIT_S)
        try:
            sway.connect(path)
            there = {str(output["name"]) for output in _ask(sway, _GET_OUTPUTS, "")}
            since = (
                set() if before is None else {name for name in there - {*before} if name.startswith(_OURS)}
            )
            for name in sorted(there & {*made} | since):
                _ask(sway, _COMMAND, f"output {name} unplug")
        except (OSError, ValueError):
            pass  # sway has ended, and its outputs with it


def _ask(sway: socket.socket, kind: int, text: str) -> Any:
    sway.sendall(_HEADER.pack(b"i3-ipc", len(text.encode()), kind) + text.encode())
    _, size, _ = _HEADER.unpack(_read(sway, _HEADER.size))
    return json.loads(_read(sway, size))


def _read(sway: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sway.recv(count - len(data))
        if not part:
            raise ConnectionError("sway has hung up")
        data += part
    return data


if __name__ == "__main__":
    main()
