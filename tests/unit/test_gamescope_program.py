"""gamescope as a program: where it is found, what it needs, and what its log says when it did not come up."""

from __future__ import annotations

from pathlib import Path

import pytest

from punktfunk.app import DESKTOP, App
from punktfunk.desktop import BackendName
from punktfunk.desktop.gamescope import program
from punktfunk.errors import (
    CapabilityError,
    DesktopError,
    DmaBufMissingError,
    GamescopeMissingError,
    PunktfunkError,
    VulkanMissingError,
)
from punktfunk.host.desktop import DesktopPool, choose_backend, launchable, own_backend
from punktfunk.host.stream.sources import DesktopSpec

# As gamescope 3.16.24 of Debian wrote it on a machine without a graphics card, and on one without a Vulkan driver.
NO_DMA_BUF = """\
[gamescope] [\x1b[0;34mInfo\x1b[0m]  \x1b[0;37mvulkan:\x1b[0m   XR30 (0x30335258)
[gamescope] [\x1b[0;31mError\x1b[0m] \x1b[0;37mvulkan:\x1b[0m vkAllocateMemory failed (VkResult: -2)
[gamescope] [\x1b[0;31mError\x1b[0m] \x1b[0;37mvulkan:\x1b[0m failed to allocate buffer for KMS

vulkan_make_output failed
"""
NO_VULKAN = """\
[gamescope] [\x1b[0;34mInfo\x1b[0m]  \x1b[0;37mconsole:\x1b[0m gamescope version 3.16.24+ds-2 (gcc 15.3.0)
[gamescope] [\x1b[0;31mError\x1b[0m] \x1b[0;37mvulkan:\x1b[0m vkCreateInstance failed (VkResult: -9)
gamescope: ../src/rendervulkan.cpp:295: bool CVulkanDevice::BInit(…): Assertion `instance' failed.
Aborted
"""
NO_REAPER = """\
[gamescope] [\x1b[0;31mError\x1b[0m] process: Failed to start process "gamescopereaper": No such file or directory
"""


@pytest.mark.parametrize(
    ("log", "kind", "words", "hint"),
    [
        (
            NO_DMA_BUF,
            DmaBufMissingError,
            "failed to allocate buffer for KMS / vulkan_make_output failed",
            "udmabuf",
        ),
        (NO_VULKAN, VulkanMissingError, "vkCreateInstance failed", "mesa-vulkan-drivers"),
        (NO_REAPER, DesktopError, "[gamescope] [Error] process: Failed to start", "see whether it starts"),
        ("", DesktopError, "it said nothing", "see whether it starts"),
    ],
)
def test_a_log_says_what_a_machine_lacks(log: str, kind: type[PunktfunkError], words: str, hint: str) -> None:
    error = program.why_not_started(log)
    assert type(error) is kind
    assert words in error.cause
    assert "[0;3" not in error.cause, "colours are left out"
    assert hint in error.hint


@pytest.mark.parametrize(
    ("command", "is_one"),
    [
        (("steam", "-gamepadui"), True),
        (("/usr/games/steam", "-steamos3", "-steamdeck"), True),
        (("flatpak", "run", "com.valvesoftware.Steam", "-gamepadui"), True),
        (("steam",), False),
        (("steam", "steam://rungameid/220"), False),
        (("vkcube", "-gamepadui"), False),
        ((), False),
    ],
)
def test_steam_tells_gamescope_what_to_show_in_its_game_mode_alone(
    command: tuple[str, ...], is_one: bool
) -> None:
    assert program.is_game_mode(command) is is_one


def test_it_is_found_where_debian_has_it_though_that_is_not_in_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(program, "GAMES", str(tmp_path / "games"))
    with pytest.raises(GamescopeMissingError, match="not installed") as missing:
        program.require_gamescope()
    assert "contrib" in missing.value.hint
    found = program.examine()
    assert (found.usable, found.absent, found.hint) == (False, True, missing.value.hint)
    for choose in (choose_backend, DesktopPool.open):
        with pytest.raises(GamescopeMissingError, match="gamescope is not installed"):
            choose(DesktopSpec(backend=BackendName.GAMESCOPE, app=("true",)))
    there = tmp_path / "games" / "gamescope"
    there.parent.mkdir()
    there.write_text("#!/bin/sh\n")
    there.chmod(0o755)
    assert program.require_gamescope() == str(there)


def test_what_is_missing_beside_it_and_a_graphics_card_are_told_before_it_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lacking() -> None:
        raise CapabilityError("wireplumber not installed", "apt-get install wireplumber")

    monkeypatch.setattr(program, "find_gamescope", lambda: "/usr/games/gamescope")
    monkeypatch.setattr(program, "require_parts", lacking)
    found = program.examine()
    assert (found.usable, found.reason, found.hint) == (
        False,
        "wireplumber not installed",
        "apt-get install wireplumber",
    )
    monkeypatch.setattr(program, "require_parts", lambda: None)
    monkeypatch.setattr(program, "has_graphics_card", lambda: True)
    found = program.examine()
    assert (found.usable, found.reason, found.hint) == (True, "gamescope is installed", "")
    monkeypatch.setattr(program, "has_graphics_card", lambda: False)
    monkeypatch.setattr(program, "_UDMABUF", Path("/nonexistent"))
    found = program.examine()
    assert found.usable, "it is tried all the same"
    assert "no graphics card" in found.reason
    assert "udmabuf" in found.hint
    monkeypatch.setattr(program, "_UDMABUF", tmp_path)
    found = program.examine()
    assert (found.usable, found.hint) == (True, "")
    assert "in software" in found.reason


def test_where_each_client_has_its_own_the_desktop_is_the_program_that_was_named() -> None:
    spec = DesktopSpec(backend=BackendName.GAMESCOPE, app=("steam", "-gamepadui"))
    browser = App(2, "Browser", ("firefox",), own_desktop=True)
    game = App(3, "Game", ("game",), "/srv")
    shown = launchable([DESKTOP, browser, game], spec)
    assert [(app.id, app.command, app.folder, own_backend(app)) for app in shown] == [
        (1, ("steam", "-gamepadui"), "", BackendName.GAMESCOPE),
        (2, ("firefox",), "", BackendName.HEADLESS_SWAY),
        (3, ("game",), "/srv", BackendName.GAMESCOPE),
    ]
    assert all(app.own_desktop for app in shown)
    assert spec.each_its_own
    assert not DesktopSpec().each_its_own
