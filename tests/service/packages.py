"""The Debian of the virtual machine: what a server has that runs systemd, and nothing of a desktop."""

from __future__ import annotations

from typing import Final

from tests.desktops.rig.packages import Suite

SUITE: Final = Suite(
    "service",
    "trixie",
    tuple(
        sorted(
            (
                *("systemd", "systemd-sysv", "udev", "kmod", "dbus", "dbus-user-session", "libpam-systemd"),
                *("passwd", "login", "procps", "util-linux", "iproute2", "polkitd"),
                *("python3", "python3-venv", "ca-certificates"),
            )
        )
    ),
)
