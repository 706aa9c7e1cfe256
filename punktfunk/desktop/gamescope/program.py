"""gamescope as a program: where it is, what it needs of this machine, and why it did not come up."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Final

from punktfunk.desktop import Availability, BackendName
from punktfunk.desktop.audio.pipewire import require_pipewire
from punktfunk.desktop.inject.eis import require_keymaps
from punktfunk.desktop.pipewire.library import require_library
from punktfunk.errors import (
    CapabilityError,
    DesktopError,
    DmaBufMissingError,
    GamescopeMissingError,
    PunktfunkError,
    VulkanMissingError,
)

GAMES: Final = "/usr/games"
"""Where Debian has it and the programs that it starts, which is not in everybody's PATH."""
_INSTALL: Final = (
    "install gamescope 3.16 or newer (Debian: apt-get install gamescope, in contrib of testing and newer)"
)
_UDMABUF: Final = Path("/dev/udmabuf")
_WITHOUT_CARD: Final = (
    "without a graphics card: modprobe udmabuf, and let this user open it (setfacl -m u:USER:rw /dev/udmabuf)"
)
_NO_VULKAN: Final = re.compile(
    r"vkCreateInstance failed|failed to find physical device|no physical device|vkEnumeratePhysicalDevices failed"
)
_NO_DMA_BUF: Final = re.compile(
    r"failed to allocate buffer for KMS|vulkan_make_output failed|vkAllocateMemory failed|vkGetMemoryFdKHR failed"
)
_COLOURS: Final = re.compile(r"\x1b?\[[0-9;]*m")
_LINES: Final = 3
_STEAM: Final = frozenset({"steam", "com.valvesoftware.Steam"})
_GAME_MODE: Final = frozenset({"-gamepadui", "-steamdeck", "-steamos", "-steamos3"})


def find_gamescope() -> str | None:
    """Return the path of the program; None where it is not installed."""
    return shutil.which("gamescope") or shutil.which("gamescope", path=GAMES)


def require_gamescope() -> str:
    """Return the path of the program; raise GamescopeMissingError where it is not installed."""
    found = find_gamescope()
    if found is None:
        raise GamescopeMissingError("gamescope is not installed", _INSTALL)
    return found


def require_parts() -> None:
    """Raise CapabilityError unless all is installed that a session needs beside gamescope."""
    require_pipewire(sound=False)
    require_library()
    require_keymaps()
    if importlib.util.find_spec("pywayland") is None:
        raise CapabilityError("pywayland is not installed", "pip install 'punktfunk[desktop]'")


def examine() -> Availability:
    """Return whether a gamescope can be started here. Starts nothing.

    Whether Vulkan shares pictures is seen when one starts; that there is nothing by which it could is told ahead.
    """
    name = BackendName.GAMESCOPE
    if find_gamescope() is None:
        return Availability(
            name, False, "gamescope is not installed", _INSTALL, absent=True, refusal=GamescopeMissingError
        )
    try:
        require_parts()
    except CapabilityError as error:
        return Availability(name, False, error.cause, error.hint)
    if has_graphics_card():
        return Availability(name, True, "gamescope is installed")
    if os.access(_UDMABUF, os.R_OK | os.W_OK):
        return Availability(
            name, True, "gamescope is installed; without a graphics card it draws in software"
        )
    reason = "gamescope is installed; there is no graphics card: it runs only if Vulkan shares pictures all the same"
    return Availability(name, True, reason, _WITHOUT_CARD)


def has_graphics_card(folder: Path = Path("/dev/dri")) -> bool:
    """Return whether there is a node that renders."""
    return any(folder.glob("renderD*"))


def why_not_started(log: str) -> PunktfunkError:
    """Return the error that gamescope's log tells of, after it ended before it was ready."""
    if _NO_VULKAN.search(log):
        return VulkanMissingError(
            f"gamescope found no Vulkan driver: {last_words(log)}",
            "install the driver of the graphics card (Debian: apt-get install mesa-vulkan-drivers)",
        )
    if _NO_DMA_BUF.search(log):
        return DmaBufMissingError(
            f"gamescope cannot share its pictures, Vulkan exports no DMA-BUF here: {last_words(log)}",
            f"use a graphics card with a Vulkan driver of its own; {_WITHOUT_CARD}",
        )
    return DesktopError(
        f"gamescope did not come up: {last_words(log) or 'it said nothing'}",
        "run `gamescope --backend headless -- true` and see whether it starts for this user",
    )


def last_words(log: str) -> str:
    """Return the end of a log, without colours."""
    lines = [_COLOURS.sub("", line).strip() for line in log.splitlines()]
    return " / ".join([line for line in lines if line][-_LINES:])


def is_game_mode(command: Sequence[str]) -> bool:
    """Return whether a command is Steam in its game mode, which tells gamescope what to show."""
    return any(PurePath(part).name in _STEAM for part in command) and not _GAME_MODE.isdisjoint(command)
