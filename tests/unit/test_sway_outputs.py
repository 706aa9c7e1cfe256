"""Outputs of a sway that can take them away again: none is left by what goes wrong in between."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from punktfunk.desktop.vdisplay import holder_program
from punktfunk.desktop.vdisplay.sway import SwayDisplay
from punktfunk.desktop.vdisplay.sway_ipc import SwayIpc
from punktfunk.errors import DesktopError
from punktfunk.units import Mode
from tests.support.new_sway import NewSway
from tests.support.waiting import PATIENCE_S

MODE = Mode(640, 480, 60)


def test_an_output_that_does_not_get_its_mode_is_taken_away_at_once(tmp_path: Path) -> None:
    sway = NewSway(tmp_path / "sock")
    sway.modes_refused = True
    with SwayDisplay(str(tmp_path / "sock"), "unused") as display:
        with pytest.raises(DesktopError, match="mode refused"):
            display.create(MODE)
        assert list(sway.outputs) == ["DP-1"]
    sway.close()


def test_an_output_has_the_scale_that_is_asked_for_and_otherwise_the_one_that_is_configured(
    tmp_path: Path,
) -> None:
    sway = NewSway(tmp_path / "sock")
    with SwayDisplay(str(tmp_path / "sock"), "unused") as display:
        first, second = display.create(MODE, scale=1.5), display.create(MODE)
        assert sway.scales == {first.name: 1.5}
        display.change(first, MODE)
        display.change(second, MODE, scale=1.0)
        assert sway.scales == {first.name: 1.5, second.name: 1.0}
    sway.close()


def test_an_output_that_somebody_has_unplugged_is_gone_and_no_fault(tmp_path: Path) -> None:
    sway = NewSway(tmp_path / "sock")
    with SwayDisplay(str(tmp_path / "sock"), "unused") as display:
        first, second = display.create(MODE), display.create(MODE)
        del sway.outputs[first.name]
        display.remove(first)
        assert [each.name for each in display.outputs] == [second.name]
        del sway.outputs[second.name]
    assert list(sway.outputs) == ["DP-1"]
    sway.close()


def test_an_answer_that_comes_too_late_is_taken_for_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sway = NewSway(tmp_path / "sock")
    with SwayIpc(str(tmp_path / "sock")) as ipc:
        for question in (ipc.outputs, ipc.version):
            sway.answers.clear()
            ipc._socket.settimeout(0.05)
            with pytest.raises(DesktopError, match="did not answer"):
                question()
            ipc._socket.settimeout(PATIENCE_S)
            sway.answers.set()
            if question == ipc.outputs:
                assert ipc.version() == (1, 9), "and not its outputs"
        monkeypatch.setattr(ipc, "_pid", ipc._pid + 1)
        with pytest.raises(DesktopError, match="another sway answers"):
            ipc.command("output HEADLESS-1 unplug")
    sway.close()
    assert sway.commands == []


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ([{"made": ["HEADLESS-2"], "before": None}], ["DP-1", "HEADLESS-3", "DP-2"]),
        ([{"made": [], "before": ["DP-1"]}], ["DP-1", "DP-2"]),
        ([{"made": ["HEADLESS-2"], "before": None}, {"made": [], "before": None}], None),
        ([], None),
    ],
    ids=["made", "being made", "taken away", "nothing yet"],
)
def test_what_a_maker_that_was_killed_has_left_is_taken_away(
    said: list[dict[str, object]], left: list[str] | None, tmp_path: Path
) -> None:
    sway = NewSway(tmp_path / "sock")
    sway.outputs |= {"HEADLESS-2": (1, 1), "HEADLESS-3": (1, 1), "DP-2": (1, 1)}
    before = list(sway.outputs)
    text = "".join(json.dumps(line) + "\n" for line in said) + '{"made": ["DP-1"]'  # cut off in the middle
    command = [sys.executable, "-I", "-S", holder_program.__file__, str(tmp_path / "sock")]
    subprocess.run(command, input=text.encode(), timeout=30, check=True)
    sway.close()
    assert list(sway.outputs) == (before if left is None else left)


def test_outputs_are_held_while_they_are_there_and_their_holder_goes_with_the_last(tmp_path: Path) -> None:
    sway = NewSway(tmp_path / "sock")
    with SwayDisplay(str(tmp_path / "sock"), "unused") as display:
        assert not display._holder.holds
        first = display.create(MODE)
        process = display._holder._process
        assert process is not None
        process.kill()
        process.wait()
        display.create(MODE)  # a holder that was killed is started again
        display.remove(first)
        again = display._holder._process
        assert again is not None
        assert again.poll() is None
        display._holder.close()  # its pipe ends, as when this process is killed
        assert again.returncode == 0
        assert list(sway.outputs) == ["DP-1"]
        display._made = []
    sway.close()


def test_a_monitor_that_is_plugged_in_meanwhile_is_not_taken_for_the_output_that_was_made(
    tmp_path: Path,
) -> None:
    sway = NewSway(tmp_path / "sock")
    sway.plugged_meanwhile = "DP-2"
    with SwayDisplay(str(tmp_path / "sock"), "unused") as display:
        made = display.create(MODE)
        assert made.name.startswith("HEADLESS-")
        assert list(sway.outputs) == ["DP-1", "DP-2", made.name]
    sway.close()
    assert list(sway.outputs) == ["DP-1", "DP-2"]


@pytest.mark.parametrize("starts", [0, 1])
def test_an_output_that_nobody_can_hold_is_refused_and_not_left(
    starts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sway = NewSway(tmp_path / "sock")
    started: list[subprocess.Popen[bytes]] = []

    def start(*order: Any, **options: Any) -> subprocess.Popen[bytes]:
        """Start a holder as often as can be, each of which is killed at once."""
        if len(started) == starts:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(popen(*order, **options))
        return started[-1]

    popen = subprocess.Popen
    monkeypatch.setattr("punktfunk.desktop.vdisplay.holder.subprocess.Popen", start)
    display = SwayDisplay(str(tmp_path / "sock"), "unused")
    command = display._ipc.command

    def killed_meanwhile(text: str) -> None:
        command(text)
        for each in started:
            each.kill()
            each.wait()

    monkeypatch.setattr(display._ipc, "command", killed_meanwhile)
    with pytest.raises(DesktopError, match="Resource temporarily"):
        display.create(MODE)
    assert list(sway.outputs) == ["DP-1"]
    display._made = []
    display._ipc.close()
    sway.close()
