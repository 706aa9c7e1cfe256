"""Outputs of a sway that can take them away again: none is left by what goes wrong in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from punktfunk.desktop.vdisplay.sway import SwayDisplay
from punktfunk.errors import DesktopError
from punktfunk.units import Mode
from tests.support.new_sway import NewSway

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
