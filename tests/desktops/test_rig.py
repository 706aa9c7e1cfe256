"""The rig itself: each compositor starts, a program in it draws and hears, and nothing is left when it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.desktops.support.compositors import COMPOSITORS, Compositor
from tests.support.waiting import eventually

WINDOW = Path(__file__).with_name("support") / "window.py"


@pytest.mark.parametrize("name", COMPOSITORS)
def test_a_compositor_shows_a_program_and_leaves_nothing(
    name: str, start: Callable[[str], Compositor]
) -> None:
    desktop = start(name)
    [output] = desktop.outputs()
    assert output.endswith(" 1280x720")
    assert desktop.session.sound().startswith("default speakers")
    window = desktop.session.programs.start("window", [sys.executable, str(WINDOW)])

    def events() -> list[dict[str, Any]]:
        return [json.loads(line) for line in window.text().splitlines() if line.startswith("{")]

    ready = eventually(lambda: [one for one in events() if one["event"] == "ready"], "the window")
    assert (ready[-1]["width"], ready[-1]["height"]) == (1280, 720)


FORGETS = """
import gc, os
from punktfunk.desktop.wayland import connect
for _ in range(20):
    connection = connect(os.environ["WAYLAND_DISPLAY"])
    circle = [connection, connection.bind("wl_compositor", 1).create_surface(), connection.bind("wl_seat", 1)]
    circle.append(circle)
    del connection, circle
    gc.collect()
print("alive")
"""


def test_a_connection_that_was_forgotten_ends_no_process(start: Callable[[str], Compositor]) -> None:
    desktop = start("sway")
    assert desktop.session.programs.run(sys.executable, "-c", FORGETS) == "alive\n"
