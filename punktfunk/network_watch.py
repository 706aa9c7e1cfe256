"""Notice that this machine's addresses, interfaces or name have changed, without looking again and again.

The kernel says so: by netlink for interfaces and addresses (rtnetlink(7)), by an event on ``/proc/sys/kernel/hostname``
for the name. What has changed is not read here: whoever is told looks at it anew.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Callable
from typing import Final

from punktfunk import log

SETTLE_S: Final = 0.3
"""Changes come in bursts: a cable that is plugged in brings a link, an address of each family, and routes."""
_NETLINK_ROUTE: Final = 0
_LINK, _IPV4_ADDRESS, _IPV6_ADDRESS = 0x1, 0x10, 0x100
"""``RTMGRP_*`` of linux/rtnetlink.h."""
_HOSTNAME: Final = "/proc/sys/kernel/hostname"
_READ_BYTES: Final = 65_536


class NetworkWatch:
    """Call ``changed`` after each change, once a burst, until :meth:`close`. Belongs to one event loop.

    Where the kernel does not let this process listen, the log says so and nothing is called.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._due: asyncio.TimerHandle | None = None
        self._log = log.get("host.network")
        self._netlink = self._listen()
        self._name, self._name_events = self._watch_name()

    def close(self) -> None:
        """Listen no longer."""
        if self._due is not None:
            self._due.cancel()
        if self._netlink is not None:
            self._loop.remove_reader(self._netlink.fileno())
            self._netlink.close()
        if self._name_events is not None:
            self._loop.remove_reader(self._name_events.fileno())
            self._name_events.close()
        if self._name is not None:
            os.close(self._name)
        self._netlink = self._name = self._name_events = None

    def _listen(self) -> socket.socket | None:
        try:
            kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            netlink = socket.socket(socket.AF_NETLINK, kind, _NETLINK_ROUTE)
        except OSError as error:
            self._log.warning("changes of addresses are not followed", cause=str(error))
            return None
        try:
            netlink.bind((0, _LINK | _IPV4_ADDRESS | _IPV6_ADDRESS))
        except OSError as error:
            netlink.close()
            self._log.warning("changes of addresses are not followed", cause=str(error))
            return None
        self._loop.add_reader(netlink.fileno(), self._netlink_readable, netlink)
        return netlink

    def _watch_name(self) -> tuple[int | None, select.epoll | None]:
        descriptor: int | None = None
        try:
            descriptor = os.open(_HOSTNAME, os.O_RDONLY | os.O_CLOEXEC)
            # The file is always readable; a change is an error condition, which an epoll of its own singles out.
            events = select.epoll()
            events.register(descriptor, 0)
        except OSError as error:
            self._log.warning("changes of this machine's name are not followed", cause=str(error))
            if descriptor is not None:
                os.close(descriptor)
            return None, None
        self._loop.add_reader(events.fileno(), self._name_readable, events)
        return descriptor, events

    def _netlink_readable(self, netlink: socket.socket) -> None:
        while True:
            try:
                netlink.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:  # more came than the buffer holds: that, too, is a change
                break
        self._soon()

    def _name_readable(self, events: select.epoll) -> None:
        events.poll(0)
        self._soon()

    def _soon(self) -> None:
        if self._due is None:
            self._due = self._loop.call_later(SETTLE_S, self._tell)

    def _tell(self) -> None:
        self._due = None
        self._changed()
