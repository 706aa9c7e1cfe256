"""Which Debian the tests run in, and which of its packages."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from typing import Final

_COMMON: Final = (
    # What a desktop of any kind has.
    "ca-certificates",
    "dbus",
    "dbus-daemon",
    "fonts-dejavu-core",
    "libcap2-bin",
    "libglib2.0-bin",
    "libpulse0",
    "libxkbcommon0",
    "passwd",
    "pipewire",
    "pipewire-bin",
    "pipewire-pulse",
    "procps",
    "pulseaudio-utils",
    "wireplumber",
    "xdg-desktop-portal",
    "xkb-data",
    # wlroots.
    "foot",
    "labwc",
    "sway",
    "wlr-randr",
    # KDE. KWin's plugins for screen recording and input are in kwin-common, which kwin-wayland only recommends.
    "desktop-file-utils",
    "kwin-common",
    "kwin-data",
    "kwin-wayland",
    "libkf6service-bin",
    "qt6-wayland",
    "xdg-desktop-portal-kde",
    # GNOME.
    "gnome-shell",
    "mutter",
    "xdg-desktop-portal-gnome",
    # What the rig needs: Python for the wheel, a C library's headers for the stand-in of a DRM node.
    "iproute2",
    "libc6-dev",
    "libdrm-dev",
    "python3",
    "python3-venv",
)


@dataclass(frozen=True, slots=True)
class Suite:
    """A Debian to test in."""

    name: str
    """What ``--suite`` calls it."""
    codename: str
    packages: tuple[str, ...]
    options: tuple[str, ...] = ()
    """Further options of mmdebstrap."""
    effort: str = "some 2 minutes, 1 GB"
    """What it takes to make it."""

    @property
    def key(self) -> str:
        """What a root of these packages is called in the cache; another list has another."""
        what = (1, self.codename, self.packages, self.options, platform.machine())
        return f"{self.codename}-{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]}"


STABLE: Final = Suite("stable", "trixie", tuple(sorted((*_COMMON, "tcc"))))
"""Debian 13: KWin 6.3, Mutter 48, sway 1.10, labwc 0.8."""

TESTING: Final = Suite(
    "testing",
    "forky",
    tuple(sorted((*_COMMON, "gamescope", "gcc", "kscreen", "mesa-vulkan-drivers", "xdg-desktop-portal-wlr"))),
    (
        # A mirror of testing that has not been written for some days is no reason not to test.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        # gamescope, which is in no other Debian, is in contrib.
        "--components=main contrib",
    ),
)
"""Debian testing, whose packages change: KWin 6.7, Mutter 50, sway 1.12, labwc 0.20, the portal of wlroots, gamescope.

gamescope renders with Vulkan, which Mesa does in software as well.
"""

SUITES: Final = {suite.name: suite for suite in (STABLE, TESTING)}

REPORTED: Final = (
    "kwin-wayland",
    "gnome-shell",
    "mutter",
    "sway",
    "labwc",
    "gamescope",
    "xdg-desktop-portal",
    "xdg-desktop-portal-gnome",
    "xdg-desktop-portal-kde",
    "xdg-desktop-portal-wlr",
    "pipewire",
    "wireplumber",
    "libgl1-mesa-dri",
)
"""Packages whose versions stand beside the figures."""
