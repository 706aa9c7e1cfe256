"""The control process's side of a stream worker: start it, talk to it, see it end within bounds.

Workers are spawned, never forked: a forked interpreter would share the QUIC stack's and the encoder's state.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

from punktfunk.errors import CapabilityError, SessionClosedError
from punktfunk.interpreter import module_command
from punktfunk.process import interrupts
from punktfunk.process.channel import Channel

STOP_GRACE_S = 1.5
"""A worker that was told to stop (its channel was closed) is killed after this long."""


class WorkerProcess:
    """One worker, started from ``module`` with its channel as ``--channel FD``, and ``arguments``.

    ``on_message`` gets every message; ``on_exit`` is called once, with the exit status as ``subprocess``
    gives it, when the process is gone and everything it had sent was handed on. Belongs to one event loop;
    to be made in the thread that lives as long as the worker should, for the kernel ends it with that one.
    """

    def __init__(
        self,
        module: str,
        vocabulary: Iterable[type[Any]],
        on_message: Callable[[Any], None],
        on_exit: Callable[[int], None],
        arguments: Iterable[str] = (),
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._on_exit = on_exit
        self._kill_timer: asyncio.TimerHandle | None = None
        self.exit_status: int | None = None
        ours, theirs = Channel.pair()
        command = [*module_command(module), "--channel", str(theirs.fileno()), *arguments]
        try:
            with interrupts.held_back():
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=sys.stderr, pass_fds=[theirs.fileno()]
                )
        except OSError as error:
            ours.close()
            raise CapabilityError(f"a worker process cannot be started: {error.strerror}") from error
        finally:
            theirs.close()
        ours.setblocking(False)
        self._channel = Channel(ours, vocabulary)
        self._channel_open = True
        self._loop.add_reader(self._channel.fileno(), self._readable)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._exited)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, message: Any, descriptors: Iterable[int] = ()) -> bool:
        """Send a message; ``False`` when the worker is gone, which ``on_exit`` tells in full."""
        if not self._channel_open:
            return False
        try:
            self._channel.send(message, descriptors)
        except SessionClosedError:
            return False
        return True

    def offer(self, message: Any) -> bool:
        """Send a message that may wait; ``False`` when the worker reads too slowly just now, or is gone."""
        if not self._channel_open:
            return False
        try:
            return self._channel.offer(message)
        except SessionClosedError:
            return False

    def stop(self) -> None:
        """End the worker: it reads the end of its channel, and is killed should that not do."""
        if self.exit_status is None and self._kill_timer is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            self._kill_timer = self._loop.call_later(STOP_GRACE_S, self.kill)

    def kill(self) -> None:
        """Kill the worker now."""
        if self.exit_status is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _readable(self) -> None:
        while self._channel_open:
            try:
                received = self._channel.receive()
            except BlockingIOError:
                return
            if received is None:
                self._close_channel()
                return
            message, descriptors = received
            for descriptor in descriptors:
                os.close(descriptor)
            self._on_message(message)

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.exit_status = self._process.wait()
        self._readable()
        self._close_channel()
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        self._on_exit(self.exit_status)

    def _close_channel(self) -> None:
        if self._channel_open:
            self._channel_open = False
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            if self.exit_status is None and self._kill_timer is None:
                self._kill_timer = self._loop.call_later(STOP_GRACE_S, self.kill)
