"""Capture from the PipeWire of a newer distribution: what differs from the one that tests/e2e runs beside."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from punktfunk.desktop.capture import PipeWireScreen, open_capture
from punktfunk.errors import MediaError
from punktfunk.media import VideoSource
from punktfunk.units import Mode
from tests.desktops.support.session import UserSession
from tests.support.pipewire_producer import Producer

MODE = Mode(320, 180, 60)
WHITE = 235


def test_a_second_capture_of_a_screen_that_stands_still_gets_its_picture_and_the_first_goes_on(
    session: UserSession,
) -> None:
    remote = session.runtime / "pipewire-0"
    another = (
        session.runtime / "mirror"
    )  # another name for the same server: one worker would share its stream
    another.symlink_to(remote)
    with Producer(str(remote), start_after_s=0.2) as producer:
        captures = []
        for path in (remote, another):
            captures.append(open_capture(PipeWireScreen(node=producer.node, remote=str(path)), MODE))
            assert int(captures[-1].capture().luma.mean()) == WHITE
        for capture in captures:
            taken = capture.counters["captured"]
            producer.deliver(
                np.zeros((180, 320, 4), np.uint8),
                lambda: capture.capture() is not None and capture.counters["captured"] > taken,  # noqa: B023
            )
            capture.close()


def test_pipewire_makes_no_thread_of_the_process_real_time(session: UserSession) -> None:
    remote = str(session.runtime / "pipewire-0")
    limit = resource.getrlimit(resource.RLIMIT_RTTIME)
    with open_capture_of(remote) as capture:
        capture.capture()
        # With PipeWire 1.6 a policy has a flag beside it: what such a thread starts is not like it.
        schedulers = {
            os.sched_getscheduler(int(task.name)) & ~os.SCHED_RESET_ON_FORK
            for task in Path("/proc/self/task").iterdir()
        }
        assert schedulers.isdisjoint({os.SCHED_FIFO, os.SCHED_RR})
        assert resource.getrlimit(resource.RLIMIT_RTTIME) == limit


@contextlib.contextmanager
def open_capture_of(remote: str) -> Iterator[VideoSource]:
    """Capture a producer of the server; the stand-in for one keeps the library's own ways out of this process."""
    command = [sys.executable, "-c", PRODUCER, remote]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as producer:
        assert producer.stdout is not None
        screen = PipeWireScreen(node=int(producer.stdout.readline()), remote=remote)
        with contextlib.closing(open_capture(screen, MODE)) as capture:
            yield capture
        producer.kill()


PRODUCER = """
import sys
from tests.support.pipewire_producer import Producer
with Producer(sys.argv[1]) as producer:
    print(producer.node, flush=True)
    sys.stdin.read()
"""


def drain(capture: VideoSource) -> None:
    for _ in range(100):
        capture.capture()


@pytest.mark.parametrize("who", ["producer", "server"])
def test_the_end_of_a_node_is_told_whatever_the_session_manager_does(session: UserSession, who: str) -> None:
    remote = str(session.runtime / "pipewire-0")
    with Producer(remote) as producer:
        capture = open_capture(PipeWireScreen(node=producer.node, remote=remote), MODE)
        capture.capture()
        if who == "producer":
            producer.close()
        else:
            session.programs.end(session.pipewire)
        with pytest.raises(MediaError, match="has gone"):
            drain(capture)
        capture.close()
