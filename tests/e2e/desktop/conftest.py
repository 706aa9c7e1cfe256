"""What tests of a desktop share: a headless session, and the demand for what it needs."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator

import pytest

from punktfunk.desktop.session import DesktopSession


@pytest.fixture
def desktop_parts(need_tool: Callable[..., str]) -> None:
    """Demand what a headless session is made of."""
    for program in ("sway", "foot", "dbus-daemon"):
        need_tool(program)
    if importlib.util.find_spec("pywayland") is None:
        reason = "pywayland (pip install 'punktfunk[desktop]')"
        if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
            pytest.fail(f"CI=true and this machine lacks: {reason}", pytrace=False)
        pytest.skip(reason)


@pytest.fixture
def session(desktop_parts: None) -> Iterator[DesktopSession]:
    """Return a headless session that ends with the test."""
    with DesktopSession() as opened:
        yield opened
