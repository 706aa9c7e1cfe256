"""Report to the service manager that started this process: ready, alive, about to end (the protocol of sd_notify).

The protocol is one datagram of ``NAME=value`` lines to the socket that ``NOTIFY_SOCKET`` names. A service manager kills
and restarts a process that stops sending pings: they come from the event loop that serves clients, so that a loop which
hangs is seen to hang, though the process lives (ADR 0206).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import MutableMapping
from typing import Final, Self

from punktfunk import log
from punktfunk.errors import ConfigError
from punktfunk.printable import printable

_SOCKET: Final = "NOTIFY_SOCKET"
_INTERVAL: Final = "WATCHDOG_USEC"
_INTERVAL_OF: Final = "WATCHDOG_PID"
_PINGS_AN_INTERVAL: Final = 3
"""Two may be late or lost. ``sd_watchdog_enabled(3)`` asks for two an interval at least."""
_SEND_LIMIT_S: Final = 1.0
"""For a manager whose receive buffer is full."""
_MAX_PATH_BYTES: Final = 107
"""Of an address in the kernel's ``sockaddr_un``."""
_LEAST_INTERVAL_US: Final = 30_000


class ServiceManager:
    """The service manager of this process. Belongs to one event loop; :meth:`of_environment` finds it.

    It is told that the host lives from :meth:`ready` until the context ends.
    """

    def __init__(self, address: str, *, interval_s: float | None = None) -> None:
        """``address`` is a path, or ``@`` and an abstract name; a ping is missed after ``interval_s``."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_SEND_LIMIT_S)
        self.interval_s = interval_s
        self._pings: asyncio.Task[None] | None = None
        self._failing = False

    @classmethod
    def of_environment(cls, environ: MutableMapping[str, str] = os.environ) -> Self | None:
        """Return the manager that the environment names, ``None`` where nobody supervises this process.

        Takes its variables out of the environment: a program that a host starts is no part of this conversation.
        Raises ``ConfigError`` for a variable that is invalid: the manager would wait in vain, and then kill.
        """
        address = environ.pop(_SOCKET, "")
        interval, pid = environ.pop(_INTERVAL, ""), environ.pop(_INTERVAL_OF, "")
        if not address:
            return None
        if address[0] not in "/@" or len(address) < 2 or len(os.fsencode(address)) > _MAX_PATH_BYTES:
            raise ConfigError(f"{_SOCKET} is {address!r}, no address of a socket", _BY_HAND)
        if not interval or (pid and pid != str(os.getpid())):
            return cls(address)
        if not (interval.isascii() and interval.isdecimal() and int(interval) >= _LEAST_INTERVAL_US):
            raise ConfigError(
                f"{_INTERVAL} is {interval!r}, not {_LEAST_INTERVAL_US} microseconds or more", _BY_HAND
            )
        return cls(address, interval_s=int(interval) / 1e6)

    def ready(self, status: str) -> None:
        """Report that clients can connect, and how the host is, in one line; send pings from now on.

        Not before: the first ping arms the watchdog, and what a host loads and opens at its start has a limit of its
        own (``TimeoutStartSec=``).
        """
        self._tell(f"READY=1\nSTATUS={printable(status)}")
        if self.interval_s is not None and self._pings is None:
            self._pings = asyncio.create_task(self._ping(self.interval_s))

    def status(self, status: str) -> None:
        """Report how the host is, in one line."""
        self._tell(f"STATUS={printable(status)}")

    def stopping(self) -> None:
        """Report that the host ends, as it was asked to."""
        self._tell("STOPPING=1")

    def close(self) -> None:
        """End the conversation."""
        if self._pings is not None:
            self._pings.cancel()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _ping(self, interval_s: float) -> None:
        while True:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(interval_s / _PINGS_AN_INTERVAL)

    def _tell(self, state: str) -> None:
        """Send a datagram. A manager that takes none is logged once: it will act on that itself."""
        try:
            self._socket.sendto(state.encode(), self._address)
            self._failing = False
        except OSError as error:
            if not self._failing:
                self._failing = True
                log.get("service").warning(
                    "the service manager does not listen", why=error.strerror or str(error)
                )


_BY_HAND: Final = f"a service manager sets it; by hand: env -u {_SOCKET} punktfunk serve"
