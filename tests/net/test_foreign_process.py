"""A program from outside is contained: its tree ends with it, its output is bounded and acts on nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.network.foreign import MAX_LOG_BYTES, ForeignProcess
from harness.network.registry import RUN_VARIABLE, Registration
from tests.support import foreign_program
from tests.support.waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.timeout(200)]


@pytest.fixture
def registration() -> Iterator[Registration]:
    with Registration("foreign") as made:
        yield made


def start(
    stack: ExitStack, registration: Registration, folder: Path, *vices: str, **options: object
) -> ForeignProcess:
    command = [sys.executable, "-S", foreign_program.__file__, "client", "127.0.0.1", "9", *vices]
    process = ForeignProcess("peer", command, registration=registration, folder=folder, **options)  # type: ignore[arg-type]
    return stack.enter_context(process)


def marked(registration: Registration) -> list[int]:
    """Return the pids of living processes that bear the run's mark."""
    mark = f"{RUN_VARIABLE}={registration.id}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_a_daemon_that_it_started_ends_with_it_however_it_ends(
    registration: Registration, tmp_path: Path
) -> None:
    for end in ("stop", "kill", "keeper"):
        with ExitStack() as stack:
            process = start(stack, registration, tmp_path, "parent", "stubborn", "mute", patience_s=0.2)
            assert process.wait_line("^child [0-9]+$", 30) is not None
            # A program that is being started has no environment for a moment.
            eventually(
                lambda: len(marked(registration)) >= 4, "keeper, first process, program and its daemon"
            )
            if end == "keeper":
                os.kill(process.pid, signal.SIGKILL)
            elif end == "kill":
                process.kill()
                assert process.killed
            else:
                process.stop()
        eventually(lambda: not marked(registration), f"the end of all its processes after {end}")


def test_it_is_asked_to_end_before_it_is_killed(registration: Registration, tmp_path: Path) -> None:
    with ExitStack() as stack:
        process = start(stack, registration, tmp_path, "escapes", "mute", patience_s=60.0)
        assert process.wait_line("red", 30) is not None
        begin = time.monotonic()
        assert process.stop() == 128 + signal.SIGTERM
        assert time.monotonic() - begin < 30, "nobody waited for the patience to be over"


def test_what_it_prints_is_bounded_and_its_last_words_are_kept(
    registration: Registration, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        process = start(stack, registration, tmp_path, "flood", "lets-go")
        assert process.wait_line("^flooded$", 60) is not None, (
            "lines beyond the log's limit are still looked at"
        )
        assert process.wait(30) == 0
        process.stop()
    log = (tmp_path / "peer.log").read_text(encoding="utf-8")
    assert MAX_LOG_BYTES - 200 < len(log.encode()) < MAX_LOG_BYTES + 20_000
    assert log.startswith("line 0 ")
    assert log.rstrip().endswith("flooded")
    assert "more lines; the last 50:" in log
    assert process.last_words() == "flooded"


def test_what_it_prints_does_nothing_and_secrets_are_hidden(
    registration: Registration, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        process = start(stack, registration, tmp_path, "escapes", "lets-go", secrets=("ticket=[a-z0-9]+",))
        found = process.wait_line("ticket=(?P<ticket>.*)$", 30)
        assert found is not None
        assert found["ticket"] == "abc123", "who waits for a PIN is given it"
        assert process.wait_line("never", 30) is None, "a program that has ended says no more"
    log = (tmp_path / "peer.log").read_text(encoding="utf-8")
    assert log == "\\x1b[31mred\\x1b[0m [hidden]\n"
    assert process.last_words() == log.strip()


def test_a_line_that_does_not_come_is_waited_for_no_longer_than_was_said(
    registration: Registration, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        process = start(stack, registration, tmp_path, "mute", patience_s=0.2)
        with pytest.raises(TimeoutError):
            process.wait_line("streaming", 0.1)
        assert process.returncode is None


def test_a_program_that_is_not_there_is_named(registration: Registration, tmp_path: Path) -> None:
    process = ForeignProcess("peer", ["/nowhere/program"], registration=registration, folder=tmp_path)
    with process:
        assert process.wait(30) == 126
    assert process.last_words() == "contain: /nowhere/program: No such file or directory"
