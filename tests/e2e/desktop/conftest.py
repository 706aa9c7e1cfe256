"""What tests of a desktop share: a headless session, and the demand for what it needs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import pytest

from punktfunk.desktop.pipewire import library
from punktfunk.desktop.session import DesktopSession
from punktfunk.errors import CapabilityError
from tests.support.pipewire_producer import Server


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


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    need_tool: Callable[..., str],
    lack: Callable[[str], None],
) -> Iterator[Server]:
    """Return a PipeWire of its own, with what makes its links."""
    for program, package in (
        ("pipewire", "pipewire"),
        ("wireplumber", "wireplumber"),
        ("dbus-daemon", "dbus-daemon"),
    ):
        need_tool(program, package)
    try:
        library.load()
    except CapabilityError as error:
        lack(f"{error.cause} ({error.hint})")
    running = Server(tmp_path_factory.mktemp("pw"))
    yield running
    running.close()
