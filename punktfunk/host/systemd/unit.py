"""The unit of a host as text, and what a unit that was found says of itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from punktfunk.errors import UsageError
from punktfunk.printable import printable

NAME: Final = "punktfunk.service"
WATCHDOG_S: Final = 30
"""A loop that hangs for so long does not come back. It is pinged from every 10 s."""
START_LIMIT_S: Final = 90
"""For a desktop that has to come up first; systemd's own default, said because ``service install`` waits for it."""
_MARK: Final = "# punktfunk-unit: "
_HEAD: Final = """\
# Written by `punktfunk service install`, which writes it anew: changes of yours belong beside it, in a drop-in
# (systemctl --user edit punktfunk.service).
"""
_VERSION: Final = 1
_PLAIN: Final = re.compile(r"[A-Za-z0-9_@:,./+=-]+")


class Session(StrEnum):
    """What a host is started with."""

    GRAPHICAL = "graphical-session"
    """The user's graphical session: from its beginning to its end."""
    HEADLESS = "headless"
    """The machine: from boot on, nobody has to log in."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What a unit is made of."""

    session: Session
    program: tuple[str, ...]
    """What runs punktfunk: an absolute path and its arguments."""
    options: tuple[str, ...] = ()
    """Those of ``punktfunk serve``."""
    hardened: bool = False

    def __post_init__(self) -> None:
        for word in (*self.program, *self.options):
            if printable(word) != word:
                raise UsageError(f"a unit cannot hold {word!r}", "leave out what cannot be shown")

    def text(self) -> str:
        """Return the unit file."""
        body = _body(self)
        fields = {
            "version": _VERSION,
            "with": self.session.value,
            "program": self.program,
            "options": self.options,
            "hardened": self.hardened,
            "sha256": _digest(body),
        }
        return f"{_HEAD}{_MARK}{json.dumps(fields)}\n{body}"


@dataclass(frozen=True, slots=True)
class FoundUnit:
    """A unit file that ``punktfunk service install`` has written."""

    unit: Unit
    intact: bool
    """Whether nobody has changed it since."""


def read(text: str) -> FoundUnit | None:
    """Return what a unit file says of itself, ``None`` where it is none of ours or of a later version."""
    head, mark, rest = text.partition(_MARK)
    said, _, body = rest.partition("\n")
    if not mark or head != _HEAD:
        return None
    try:
        fields: dict[str, Any] = json.loads(said)
        if fields["version"] != _VERSION:
            return None
        unit = Unit(
            Session(fields["with"]),
            _words(fields["program"]),
            _words(fields["options"]),
            bool(fields["hardened"]),
        )
        return FoundUnit(unit, fields["sha256"] == _digest(body))
    except (ValueError, KeyError, TypeError, RecursionError, UsageError):
        return None


def command_line(words: Iterable[str]) -> str:
    """Return words as ``ExecStart=:`` takes them: quoted, and ``%`` doubled (systemd.service(5))."""
    return " ".join(map(_quoted, words))


def _body(unit: Unit) -> str:
    target = "default.target" if unit.session is Session.HEADLESS else "graphical-session.target"
    bound = "" if unit.session is Session.HEADLESS else f"After={target}\nPartOf={target}\n"
    # The colon: what looks like a variable in an option is no variable.
    return f"""\
[Unit]
Description=punktfunk: streams this user's desktop to paired clients
{bound}StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart=:{command_line((*unit.program, "serve", *unit.options))}
Restart=on-failure
RestartSec=10
TimeoutStartSec={START_LIMIT_S}
TimeoutStopSec=20
WatchdogSec={WATCHDOG_S}
OOMPolicy=continue
LimitCORE=0:infinity
StandardOutput=journal
StandardError=journal
SyslogIdentifier=punktfunk
{_HARDENING if unit.hardened else ""}
[Install]
WantedBy={target}
"""


_HARDENING: Final = """\
NoNewPrivileges=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallFilter=~@clock @module @obsolete @raw-io @reboot @swap
SystemCallErrorNumber=EPERM
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
"""
"""What a streaming host and the programs of most desktops do without (ADR 0206 says what it costs). User and process
namespaces, real-time priority, JIT compilers and /dev/uinput stay: a headless desktop, the sender of packets, llvmpipe
and gamepads use them."""


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise TypeError("no list of words")
    return tuple(value)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
