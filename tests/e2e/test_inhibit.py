"""Idle, sleep and lock held off, and a lock noticed: over real buses, with what a desktop has on them."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("dbus_fast")

from punktfunk.desktop.inhibit import Inhibitor
from punktfunk.desktop.lock_watch import LockWatch
from tests.support.dbus import session_bus
from tests.support.desktop_services import GNOME, LOGIND, PORTAL, SAVER, services
from tests.support.waiting import PATIENCE_S, eventually

REPOSITORY = Path(__file__).parents[2]
NOWHERE = "unix:path=/nonexistent/bus"
_HOLDER = """\
import sys
from punktfunk.desktop.inhibit import Inhibitor
held = Inhibitor(session=True, session_address=sys.argv[1], system_address=sys.argv[1])
print(", ".join(held.held), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def no_compositor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may sit before one."""
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture
def bus(tmp_path: Path, need_tool: Callable[..., str]) -> Iterator[str]:
    """The address of a bus; one does for session and system."""
    need_tool("dbus-daemon")
    with session_bus(tmp_path) as (address, _):
        yield address


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        ((SAVER,), SAVER),
        ((PORTAL,), PORTAL),
        ((PORTAL, SAVER), SAVER),
        ((PORTAL, SAVER, GNOME), GNOME),
    ],
)
def test_the_first_that_is_there_holds_idle_off_until_it_is_let_go(
    bus: str, names: tuple[str, ...], asked: str
) -> None:
    with services(bus, *names) as desktop:
        with Inhibitor(session=True, session_address=bus, system_address=NOWHERE) as held:
            [((_, whom), what)] = desktop.held.items()
            assert whom == asked
            assert "streaming" in str(what)
            assert len(held.held) == 1
            assert [words.split(":")[0] for words in held.refused] == ["logind"]
        eventually(lambda: not desktop.held, "it is let go")


def test_one_that_refuses_leaves_it_to_the_next(bus: str) -> None:
    with (
        services(bus, GNOME, SAVER, refuses=frozenset({GNOME})) as desktop,
        Inhibitor(session=True, session_address=bus, system_address=NOWHERE) as held,
    ):
        assert [whom for _, whom in desktop.held] == [SAVER]
        assert "session manager" in held.refused[0]


@pytest.mark.parametrize(
    ("refuses", "said"), [(frozenset(), "idle and sleep"), (frozenset({"sleep"}), "idle")]
)
def test_logind_gives_a_descriptor_that_is_closed_again(bus: str, refuses: frozenset[str], said: str) -> None:
    with services(bus, LOGIND, refuses=refuses) as machine:
        held = Inhibitor(session=False, session_address=bus, system_address=bus)
        assert held.held == [f"logind ({said})"]
        assert machine.descriptors_held == 1
        held.close()
        held.close()
        eventually(lambda: machine.descriptors_held == 0, "the descriptor is closed")


def test_all_of_it_is_over_when_the_process_is_killed(bus: str) -> None:
    with (
        services(bus, SAVER, LOGIND) as desktop,
        subprocess.Popen(
            [sys.executable, "-c", _HOLDER, bus],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as holder,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == "the screen saver, logind (idle and sleep)\n"
        assert len(desktop.held) == desktop.descriptors_held == 1
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(PATIENCE_S)
        eventually(lambda: not desktop.held, "the screen saver is free")
        eventually(lambda: desktop.descriptors_held == 0, "logind is free")


def test_a_machine_without_any_of_it_is_streamed_all_the_same(bus: str) -> None:
    with Inhibitor(session=True, session_address=bus, system_address=NOWHERE) as held:
        assert held.held == []
        assert [words.split(":")[0] for words in held.refused] == [
            "the session",
            "the compositor",
            "logind",
        ]
    with Inhibitor(session=True, session_address=NOWHERE, system_address=NOWHERE) as held:
        assert held.held == []


@pytest.mark.parametrize("by", [SAVER, LOGIND])
def test_a_lock_is_told_and_so_is_its_end(bus: str, by: str) -> None:
    told: queue.SimpleQueue[bool] = queue.SimpleQueue()
    with services(bus, by) as desktop:
        with LockWatch(told.put, session_address=bus, system_address=bus) as watch:
            assert not watch.locked
            for locked in (True, False, True):
                desktop.lock(locked, by=by)
                assert told.get(timeout=PATIENCE_S) is locked
                assert watch.locked is locked
        desktop.lock(False, by=by)
    assert told.empty(), "nothing is told once it is closed"


def test_a_session_that_is_locked_already_is_noticed_and_one_whose_saver_dies_is_open(bus: str) -> None:
    told: queue.SimpleQueue[bool] = queue.SimpleQueue()
    with services(bus, SAVER) as desktop:
        desktop.locked = True
        watch = LockWatch(told.put, session_address=bus, system_address=NOWHERE)
        assert told.get(timeout=PATIENCE_S) is True
    assert told.get(timeout=PATIENCE_S) is False
    watch.close()
