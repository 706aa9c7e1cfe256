"""What tests of a desktop share: a headless session, and the demand for what it needs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import pytest

from punktfunk.desktop.session import DesktopSession


@pytest.fixture
def desktop_parts(need_tool: Callable[..., str], lack: Callable[[str], None]) -> None:
    """Demand what a headless session is made of."""
    for program in ("sway", "foot", "dbus-daemon"):
        need_tool(program)
    if importlib.util.find_spec("pywayland") is None:
        lack("pywayland (pip install 'punktfunk[desktop]')")


@pytest.fixture
def session(desktop_parts: None) -> Iterator[DesktopSession]:
    """Return a headless session that ends with the test."""
    with DesktopSession() as opened:
        yield opened
