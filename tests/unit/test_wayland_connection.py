"""A connection to a compositor: nothing of it is left to Python's collector, which frees in any thread, at any time."""

from __future__ import annotations

import gc
import socket
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pywayland", reason="pip install 'punktfunk[desktop]'")

from pywayland.protocol.wayland import WlOutput

from punktfunk.desktop.wayland import connect
from punktfunk.desktop.wayland import connection as module
from punktfunk.desktop.wayland.connection import Connection, Output
from punktfunk.errors import DesktopError
from tests.support.copying_compositor import OUTPUT, CopyingCompositor


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    compositor = CopyingCompositor(tmp_path / "wayland", 64, 48)
    opened = connect(str(tmp_path / "wayland"))
    yield opened
    opened.close()
    compositor.close()


def test_the_collector_finds_no_proxy_of_a_connection_that_is_open(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its handlers hold it, and it holds them: nobody else does.
    dropped = Output(7, connection._registry.bind(OUTPUT, WlOutput, 4))
    proxy, there = weakref.ref(dropped.proxy), []
    del dropped
    disconnect = connection._display.disconnect

    def collected() -> bool:
        """Return whether the collector has freed it; in a thread of its own it might just be doing so."""
        gc.collect()
        return proxy() is None

    def disconnects() -> None:
        there.append(not collected())
        disconnect()

    monkeypatch.setattr(connection._display, "disconnect", disconnects)
    assert not collected()
    connection.close()
    assert there == [True], "its display would be freed meanwhile, and the process crash"
    assert collected()


def test_what_is_destroyed_is_let_go_of(connection: Connection) -> None:
    held: set[Any] = connection._display._children  # type: ignore[assignment]
    for _ in range(500):
        connection.round_trip()
        connection._announced(connection._registry, OUTPUT, "wl_output", 4)
        connection._removed(None, OUTPUT)
    assert len([each for each in held if not each.destroyed]) < 30, (
        "outputs that have gone are kept for a while"
    )
    assert len(held) <= 64 + 1


def test_a_compositor_that_hangs_up_at_once_leaves_no_connection(tmp_path: Path) -> None:
    before = set(module._open)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "wayland"))
        listening.listen()

        def hang_up() -> None:
            listening.accept()[0].close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        with pytest.raises(DesktopError, match=r"the compositor (has gone|does not take)"):
            connect(str(tmp_path / "wayland"))
        hanging_up.join()
    assert module._open <= before, "what tests before have left may end meanwhile"
