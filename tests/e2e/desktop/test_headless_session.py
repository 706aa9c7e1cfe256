"""A headless session: it comes up, shows what runs in it, and leaves nothing behind however it ends."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from punktfunk.desktop.capture import WlrScreen, open_capture
from punktfunk.desktop.session import DesktopSession
from punktfunk.desktop.supervised_session import CLOSE_LIMIT_S
from punktfunk.desktop.vdisplay import VirtualOutput
from punktfunk.errors import CapabilityError, DesktopError, MediaError, PunktfunkError, UsageError
from punktfunk.host.desktop import DesktopPool
from punktfunk.input import InputEvent, InputKind
from punktfunk.media import VideoSource
from punktfunk.units import Mode
from tests.support.waiting import PATIENCE_S

MODE = Mode(640, 480, 60)


def _session_processes(runtime: str) -> dict[int, str]:
    """Command lines by process id of those that have a session's folder in their environment."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if runtime.encode() in (entry / "environ").read_bytes():
                    command = (entry / "cmdline").read_bytes()
                    found[int(entry.name)] = command.replace(b"\0", b" ").decode()
            except OSError:
                continue
    return found


def _runs(runtime: str, text: str) -> bool:
    return any(line.startswith(text) for line in _session_processes(runtime).values())


def _eventually(condition: Callable[[], bool], limit_s: float = PATIENCE_S) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _capture_for_ever(capture: VideoSource) -> None:
    for _ in range(100):
        capture.capture()


def _x_files(session: DesktopSession) -> list[Path]:
    number = session.x_display.removeprefix(":")
    return [Path(f"/tmp/.X{number}-lock"), Path(f"/tmp/.X11-unix/X{number}")]


def test_a_created_output_has_the_mode_and_is_captured_at_its_size(session: DesktopSession) -> None:
    output = session.create(MODE)
    capture = open_capture(WlrScreen(display=session.socket, output=output.name), MODE)
    try:
        frame = capture.capture()
    finally:
        capture.close()
    assert (frame.picture.width, frame.picture.height) == (640, 480)
    assert frame.picture.format.name == "yuv420p"
    assert 0 < frame.captured_ns <= frame.converted_ns


def test_a_screen_that_does_not_change_is_given_again_after_the_keepalive_time(
    session: DesktopSession,
) -> None:
    output = session.create(MODE)
    spec = WlrScreen(display=session.socket, output=output.name, keepalive_ms=50)
    capture = open_capture(spec, MODE)
    numbers: list[int] = []
    gaps_ms: list[float] = []
    try:
        last_ns, repeated = 0, 0
        while len(gaps_ms) < 15:
            frame = capture.capture()
            numbers.append(frame.frame)
            if capture.counters["repeated"] > repeated:
                gaps_ms.append((frame.captured_ns - last_ns) / 1e6)
            last_ns, repeated = frame.converted_ns, capture.counters["repeated"]
            assert len(numbers) < 300, "a screen on which nothing runs keeps changing"
    finally:
        capture.close()
    assert numbers == list(range(len(numbers)))
    assert min(gaps_ms) >= 49, "an unchanged screen is not sent at full rate"
    assert np.median(gaps_ms) < 500, "and is not forgotten"


def test_what_a_terminal_shows_is_in_the_captured_picture(session: DesktopSession) -> None:
    output = session.create(MODE)
    capture = open_capture(WlrScreen(display=session.socket, output=output.name), MODE)
    try:
        empty = capture.capture().luma.copy()
        session.launch(["foot", "-o", "colors.background=ffffff", "sh", "-c", "sleep 60"])
        assert _eventually(lambda: capture.capture().luma.mean() > 200), "the terminal's white never came"
    finally:
        capture.close()
    assert empty.mean() < 100


def test_a_changed_mode_reaches_an_open_capture(session: DesktopSession) -> None:
    output = session.create(MODE)
    capture = open_capture(WlrScreen(display=session.socket, output=output.name), MODE)
    try:
        capture.capture()
        changed = session.change(output, Mode(800, 600, 60))
        frames = [capture.capture() for _ in range(5)]
    finally:
        capture.close()
    assert changed == VirtualOutput(output.name, Mode(800, 600, 60))
    assert {(f.picture.width, f.picture.height) for f in frames} == {(640, 480)}, "scaled to the stream"


def test_a_folder_that_a_program_cannot_start_in_is_named_and_not_the_program(
    session: DesktopSession, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for folder, why in ((tmp_path / "missing", "No such file"), (tmp_path / "file", "Not a directory")):
        with pytest.raises(CapabilityError, match=f"true cannot be started in {folder}: {why}") as caught:
            session.launch(["true"], cwd=folder)
        assert "PATH" not in caught.value.hint
    with pytest.raises(CapabilityError, match="no-such-program cannot be started: No such file") as caught:
        session.launch(["no-such-program"], cwd=tmp_path)
    assert "PATH" in caught.value.hint


def test_a_program_that_cannot_be_started_is_named(session: DesktopSession) -> None:
    with pytest.raises(CapabilityError, match="no-such-program"):
        session.launch(["no-such-program"])
    with pytest.raises(UsageError):
        session.launch([])


def test_the_end_of_a_program_is_told_with_its_status_and_last_words(session: DesktopSession) -> None:
    app = session.launch(["sh", "-c", "seq 100000; echo; echo no such file >&2; exit 7"])
    assert app.ended.wait(PATIENCE_S)
    assert app.status == 7
    assert app.words == "99999 / 100000 / no such file"
    running = session.launch(["sleep", "60"])
    assert session.end_app(running) == -signal.SIGTERM


def test_a_program_that_has_ended_is_forgotten(session: DesktopSession) -> None:
    kept = []
    for _ in range(3):
        app = session.launch(["true"])
        assert app.ended.wait(PATIENCE_S)
        kept.append(weakref.ref(app.ended))
        del app

    def forgotten() -> bool:
        gc.collect()
        return not any(ref() for ref in kept)

    assert _eventually(forgotten), "a desktop whose program ends with each stream would keep them all"


def test_an_unknown_output_is_named_with_those_that_there_are(session: DesktopSession) -> None:
    session.create(MODE)
    with pytest.raises(DesktopError, match="HEADLESS-7") as caught:
        open_capture(WlrScreen(display=session.socket, output="HEADLESS-7"), MODE)
    assert "HEADLESS-1" in caught.value.hint


@pytest.mark.measures
def test_closing_ends_programs_compositor_and_files_in_time(desktop_parts: None) -> None:
    session = DesktopSession()
    runtime, x_files = str(Path(session.socket).parent), _x_files(session)
    session.create(MODE)
    session.launch(["foot"])
    # A daemon that has left its parent, its process group and its terminal.
    session.launch(["sh", "-c", "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' & exit 0"])
    assert _eventually(lambda: _runs(runtime, "foot"))
    assert _eventually(lambda: _runs(runtime, "sh -c trap"))
    began = time.monotonic()
    session.close()
    assert time.monotonic() - began < CLOSE_LIMIT_S
    assert _session_processes(runtime) == {}
    assert not Path(runtime).exists()
    assert not any(path.exists() for path in x_files)


@pytest.mark.measures
def test_a_killed_supervisor_takes_everything_with_it(desktop_parts: None) -> None:
    ended: list[PunktfunkError] = []
    session = DesktopSession(on_end=ended.append)
    try:
        runtime, x_files = str(Path(session.socket).parent), _x_files(session)
        output = session.create(MODE)
        session.launch(["foot"])
        session.launch(["sh", "-c", "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' & exit 0"])
        capture = open_capture(WlrScreen(display=session.socket, output=output.name), MODE)
        capture.capture()
        assert _eventually(lambda: _runs(runtime, "sh -c trap"))
        os.kill(session.supervisor_pid, signal.SIGKILL)
        assert _eventually(lambda: not _session_processes(runtime), 2.0)
        assert _eventually(lambda: len(ended) == 1)
        with pytest.raises(MediaError, match="capture ended"):
            _capture_for_ever(capture)
        capture.close()
    finally:
        session.close()
    assert not Path(runtime).exists()
    assert not any(path.exists() for path in x_files)


def _signal_processes(runtime: str, command: str, number: signal.Signals) -> None:
    for pid, line in _session_processes(runtime).items():
        if line.startswith(command):
            os.kill(pid, number)


@pytest.mark.measures
def test_a_compositor_that_hangs_does_not_hold_up_the_end(desktop_parts: None) -> None:
    session = DesktopSession()
    runtime = str(Path(session.socket).parent)
    _signal_processes(runtime, "sway ", signal.SIGSTOP)
    began = time.monotonic()
    session.close()
    assert time.monotonic() - began < CLOSE_LIMIT_S + 0.5
    assert _eventually(lambda: not _session_processes(runtime), 1.0)
    assert not Path(runtime).exists()


@pytest.mark.measures
def test_a_supervisor_that_hangs_is_killed_with_all_it_holds(desktop_parts: None) -> None:
    session = DesktopSession()
    runtime = str(Path(session.socket).parent)
    session.launch(["sleep", "100"])
    (task,) = Path(f"/proc/{session.supervisor_pid}/task").iterdir()
    (supervisor,) = (task / "children").read_text().split()
    os.kill(int(supervisor), signal.SIGSTOP)
    began = time.monotonic()
    session.close()
    assert time.monotonic() - began < CLOSE_LIMIT_S + 0.5
    assert _eventually(lambda: not _session_processes(runtime), 1.0)
    assert not Path(runtime).exists()


def test_input_that_a_session_does_not_take_is_refused_and_holds_nobody_up(session: DesktopSession) -> None:
    """One client's flood had stopped the event loop of the host, and with it all others, for seconds."""
    pool = DesktopPool(_Only(session))  # type: ignore[arg-type]  # input is all that it is asked for
    move = InputEvent(InputKind.MOUSE_MOVE, x=1)
    (task,) = Path(f"/proc/{session.supervisor_pid}/task").iterdir()
    (supervisor,) = (task / "children").read_text().split()
    assert pool.inject(InputEvent(InputKind.KEY_DOWN, 0x41))
    os.kill(int(supervisor), signal.SIGSTOP)
    try:
        assert any(not pool.inject(move) for _ in range(20_000))
        assert not pool.inject(InputEvent(InputKind.KEY_UP, 0x41))
    finally:
        os.kill(int(supervisor), signal.SIGCONT)
    # All keys are let go of, since the release of one got lost; then everything is as before.
    assert _eventually(lambda: pool.inject(move) and not pool._letting_go)
    before = session.release_all()["injected"]
    assert pool.inject(move)
    assert session.release_all()["injected"] == before + 1


class _Only:
    """A desktop of one session, as far as input goes."""

    def __init__(self, session: DesktopSession) -> None:
        self.inject, self.release_all = session.inject, session.release_all


def test_two_sessions_know_nothing_of_each_other(session: DesktopSession) -> None:
    with DesktopSession() as other:
        assert session.socket != other.socket
        assert session.x_display != other.x_display
        session.create(MODE)
        with pytest.raises(DesktopError, match="no output"):
            open_capture(WlrScreen(display=other.socket, output="HEADLESS-1"), MODE)
    assert session.failure is None
    assert session.create(MODE).name == "HEADLESS-2"


_OWNER = """
import sys, time
from punktfunk.desktop.session import DesktopSession
session = DesktopSession()
session.launch(["sh", "-c", "setsid sh -c 'trap \\"\\" TERM HUP; while :; do sleep 1; done' & exit 0"])
print(session.socket, flush=True)
time.sleep(60)
"""


@pytest.mark.measures
def test_a_session_ends_when_its_owner_is_killed(desktop_parts: None) -> None:
    owner = subprocess.Popen([sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner, owner.stdout:
        runtime = str(Path(owner.stdout.readline().strip()).parent)
        assert _eventually(lambda: _runs(runtime, "sh -c trap"))
        owner.kill()
        owner.wait()
        began = time.monotonic()
        assert _eventually(lambda: not _session_processes(runtime), 2.0)
        assert _eventually(lambda: not Path(runtime).exists(), max(0.1, 2.0 - (time.monotonic() - began)))


def test_a_compositor_that_dies_ends_the_session_with_a_reason(desktop_parts: None) -> None:
    ended: list[PunktfunkError] = []
    with DesktopSession(on_end=ended.append) as session:
        app = session.launch(["sleep", "60"])
        processes = _session_processes(str(Path(session.socket).parent))
        os.kill(
            next(pid for pid, command in processes.items() if command.startswith("sway ")), signal.SIGKILL
        )
        assert _eventually(lambda: bool(ended)), "nobody was told"
        assert isinstance(ended[0], DesktopError)
        assert "compositor ended (signal 9)" in ended[0].cause
        assert session.failure is ended[0]
        assert app.ended.wait(PATIENCE_S)
