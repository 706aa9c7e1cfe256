"""The worker's side: read the channel in a thread, and never outlive the control process."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Iterable
from typing import Any, NoReturn

from punktfunk.errors import SessionClosedError
from punktfunk.process import interrupts
from punktfunk.process.channel import Channel

_PR_SET_PDEATHSIG = 1
_LAST_WORDS_S = 1.2
"""After the end of the channel, the time to write artefacts; then the process goes, whatever it is doing."""


class WorkerEnd:
    """The channel of a worker process, whose command line ``parser`` reads but for ``--channel``.

    ``stopping`` is set when the control process closed the channel, sent SIGTERM or died. Messages arrive in
    ``inbox`` with their descriptors, which belong to the taker. ``arguments`` are what ``parser`` found.
    """

    def __init__(
        self, vocabulary: Iterable[type[Any]], parser: argparse.ArgumentParser | None = None
    ) -> None:
        self.arguments, descriptor = _command_line(parser)
        self.stopping = threading.Event()
        self.inbox: queue.SimpleQueue[tuple[Any, list[int]]] = queue.SimpleQueue()
        self._channel = Channel(socket.socket(fileno=descriptor), vocabulary)
        _die_with_parent()
        interrupts.ignored()
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        threading.Thread(target=self._read, name="channel", daemon=True).start()

    def send(self, message: Any) -> None:
        """Send a message; a control process that is gone is noticed through ``stopping``."""
        with contextlib.suppress(SessionClosedError):
            self._channel.send(message)

    def offer(self, message: Any) -> bool:
        """Send a message unless that would have to wait; ``False`` where the control process reads too slowly."""
        with contextlib.suppress(SessionClosedError):
            return self._channel.offer(message)
        return True

    def poll(self) -> tuple[Any, list[int]] | None:
        """Return the next message if there is one."""
        try:
            return self.inbox.get_nowait()
        except queue.Empty:
            return None

    def wait(self, timeout_s: float) -> tuple[Any, list[int]] | None:
        """Wait for a message; ``None`` when none came in time."""
        try:
            return self.inbox.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _read(self) -> None:
        while True:
            received = self._channel.receive()
            if received is None:
                self._stop()
                return
            self.inbox.put(received)

    def _stop(self) -> None:
        if not self.stopping.is_set():
            self.stopping.set()
            last = threading.Timer(_LAST_WORDS_S, os._exit, args=(70,))
            last.daemon = True
            last.start()


def leave(status: int) -> NoReturn:
    """End the process at once: its threads and decoders are done, and finalizers of libraries would only take time."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _command_line(more: argparse.ArgumentParser | None) -> tuple[argparse.Namespace, int]:
    parser = argparse.ArgumentParser(
        description="A worker; started by its control process only.", parents=[] if more is None else [more]
    )
    parser.add_argument("--channel", type=int, required=True, metavar="FD")
    arguments = parser.parse_args()
    descriptor: int = arguments.channel
    try:
        os.fstat(descriptor)
    except OSError:
        sys.exit("this program is started by punktfunk itself")
    os.set_inheritable(descriptor, False)
    return arguments, descriptor


def _die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the control process dies; the end of the channel says the same."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
