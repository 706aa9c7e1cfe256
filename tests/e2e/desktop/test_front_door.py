"""A desktop through ``punktfunk serve`` and ``punktfunk connect``: what is shown is what was captured."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.peers.served_desktop import ServedDesktop, connect, pictures
from punktfunk.errors import HarnessError
from punktfunk.units import Mode
from tests.support.waiting import PATIENCE_S, eventually

MODE = Mode(960, 540, 30)


@pytest.mark.measures
def test_every_picture_that_serve_captures_is_the_one_that_connect_decodes(
    desktop_parts: None, tmp_path: Path
) -> None:
    # The stream ends with so many pictures, however long a busy machine takes for them.
    with ServedDesktop(tmp_path, "--bitrate", "8 Mbit/s", "--frames", "120") as host:
        assert "a headless sway that runs punktfunk testcard" in host.banner
        printed = connect(host, tmp_path, MODE, PATIENCE_S)
        ended = host.end()
    assert "stream 960x540@30" in printed
    assert "session 1 127.0.0.1 960x540@30" in ended
    counters = host.stats().counters
    seen = pictures(host.left, tmp_path / "client")
    assert len(seen.captured_ns) > 45, "the card was not streamed for long"
    assert counters["capture_captured"] > 45
    assert (seen.unreadable, seen.wrong) == (0, 0)
    assert (seen.queue_dropped, seen.not_decoded) == (0, 0)
    assert counters["packets_socket_dropped"] == counters["frames_queue_dropped"] == 0
    assert (np.diff(seen.captured_number) >= 0).all()
    assert (np.diff(seen.captured_ns) > 0).all()
    # Stamps and frame marker tell one story: drawn, then captured, then complete, then decoded.
    for begin, end in (
        ("drawn_ns", "captured_ns"),
        ("captured_ns", "encode_end_ns"),
        ("encode_end_ns", "sent_first_ns"),
        ("sent_first_ns", "complete_ns"),
        ("complete_ns", "decode_end_ns"),
    ):
        assert (seen.between(begin, end) > 0).all(), (begin, end)


def test_serve_says_that_the_home_folder_is_missing_before_anybody_connects(
    desktop_parts: None, tmp_path: Path
) -> None:
    options = [
        "--source",
        "desktop",
        "--app",
        "foot",
        "--bind",
        "127.0.0.1",
        "--native-port",
        "0",
        "--no-mdns",
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "punktfunk",
            "serve",
            "--no-gamestream",
            *options,
            "--no-mgmt",
            "--state-dir",
            str(tmp_path / "state"),
        ],
        env={**os.environ, "HOME": str(tmp_path / "missing"), "WAYLAND_DISPLAY": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert f"foot cannot be started: the home folder {tmp_path}/missing is missing" in done.stderr
    assert "set HOME" in done.stderr
    assert "PATH" not in done.stderr


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A folder for sessions, with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="pf-") as folder:
        yield Path(folder)


def _left(runtime: Path) -> list[str]:
    """Return the processes that were started with that folder, the client's apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environ = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(runtime).encode() in environ and "punktfunk.client" not in command:
                found.append(command)
    return found


@pytest.mark.measures
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_of_a_streamed_desktop_outlives_its_host_for_two_seconds(
    how: signal.Signals, desktop_parts: None, runtime: Path, tmp_path: Path
) -> None:
    def stream() -> None:
        with contextlib.suppress(HarnessError):  # a client whose host was killed fails, as it should
            connect(host, tmp_path, Mode(640, 480, 30), PATIENCE_S)

    with ServedDesktop(tmp_path, env={"XDG_RUNTIME_DIR": str(runtime)}) as host:
        client = threading.Thread(target=stream)
        client.start()

        def parts() -> set[str]:
            left = " ".join(_left(runtime))
            return {part for part in ("sway", "punktfunk.host.stream.worker", "testcard") if part in left}

        eventually(lambda: len(parts()) == 3, "a stream of the card")
        told = time.monotonic()
        host.signal(how)
        while left := _left(runtime):
            assert time.monotonic() - told < 4, left
            time.sleep(0.02)
        took = time.monotonic() - told
        client.join()
    assert took < 3, "two seconds are promised; a busy machine gets one more"
    if how is signal.SIGINT:
        assert list(runtime.glob("punktfunk-session-*")) == []
