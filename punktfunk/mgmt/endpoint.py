"""Where the management API listens: one address and port, and whether that is this machine only."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Self

from punktfunk.addresses import Address
from punktfunk.errors import CapabilityError, ConfigError

MGMT_PORT = 47990
"""The port of the reference host (punktfunk/1 section 8)."""

_FORM = re.compile(r"(\[[^\]]+\]|[^:\[\]]+):([0-9]{1,5})")
_BACKLOG = 64


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a TCP port; port 0 takes a free one."""

    address: Address
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``127.0.0.1:47990`` or ``[::1]:47990``. Raises ``ConfigError`` for anything else."""
        found = _FORM.fullmatch(text.strip())
        host, port = (found[1].strip("[]"), int(found[2])) if found else ("", 0)
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            address = None
        if address is None or port > 65535:
            raise ConfigError(
                f"{text!r} is no address and port",
                f"write it like 127.0.0.1:{MGMT_PORT} or [::1]:{MGMT_PORT}",
            )
        return cls(address, port)

    @property
    def secure(self) -> bool:
        """Whether others can reach it, so that it has to speak TLS."""
        return not self.address.is_loopback

    def open(self) -> socket.socket:
        """Return a listening socket. Raises ``CapabilityError`` when it cannot be had here."""
        family = socket.AF_INET6 if self.address.version == 6 else socket.AF_INET
        # With the protocol named, asyncio switches Nagle's delay off; without, each answer waits 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((str(self.address), self.port))
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            raise CapabilityError(
                f"the management API cannot listen on {self}: {error.strerror}", _fix(error)
            ) from error
        return listener

    def url(self, port: int, address: str | None = None) -> str:
        """Return where it is found, with the port that it got: at ``address``, or from this machine."""
        if address is None:
            own = {4: "127.0.0.1", 6: "::1"}
            address = own[self.address.version] if self.address.is_unspecified else str(self.address)
        shown = f"[{address}]" if ":" in address else address
        return f"{'https' if self.secure else 'http'}://{shown}:{port}"

    def __str__(self) -> str:
        shown = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{shown}:{self.port}"


def _fix(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "end the other program, name another --mgmt-bind (port 0 takes a free one), or use --no-mgmt"
    return "name another --mgmt-bind, such as 127.0.0.1:0, or use --no-mgmt"
