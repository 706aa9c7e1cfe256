"""What a host says to its service manager: a real ``punktfunk serve``, and the socket that a manager listens on."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from punktfunk.errors import ConfigError
from punktfunk.process.service_manager import ServiceManager
from tests.support.waiting import PATIENCE_S

REPOSITORY = Path(__file__).parents[2]
INTERVAL_S = 0.6


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(PATIENCE_S)
        yield listening


def falls_silent(listener: socket.socket) -> bool:
    """Take what was said before, until nothing comes within the listener's patience."""
    try:
        while True:
            listener.recv(4096)
    except TimeoutError:
        return True


def test_a_host_says_when_it_is_ready_lives_stands_still_and_ends(
    listener: socket.socket, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as errors:
        host = subprocess.Popen(
            [
                *(sys.executable, "-m", "punktfunk", "serve", "--source=synthetic", "--bind=127.0.0.1"),
                *("--native-port=0", "--no-gamestream", "--no-mdns", "--mgmt-bind=127.0.0.1:0"),
                *("--arm=60", f"--state-dir={tmp_path / 'host'}"),
            ],
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                "NOTIFY_SOCKET": listener.getsockname(),
                "WATCHDOG_USEC": str(round(INTERVAL_S * 1e6)),
            },
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        # Nothing before: a ping would arm the watchdog while the host still loads.
        assert listener.recv(4096) == b"READY=1\nSTATUS=ready, 0 streaming"
        assert [listener.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3

        host.send_signal(signal.SIGSTOP)
        listener.settimeout(2 * INTERVAL_S)
        assert falls_silent(listener)
        host.send_signal(signal.SIGCONT)
        listener.settimeout(PATIENCE_S)
        assert listener.recv(4096) == b"WATCHDOG=1"

        host.send_signal(signal.SIGTERM)
        while (last := listener.recv(4096)) == b"WATCHDOG=1":
            pass
        assert last == b"STOPPING=1"
        printed, _ = host.communicate(timeout=PATIENCE_S)
    finally:
        host.kill()
        host.wait()
    assert host.returncode == 0, log.read_text()
    assert "native host  127.0.0.1" in printed
    assert "#ticket=" not in printed
    assert "--pin" not in printed, "a PIN is in what a journal keeps"


def test_a_watchdogs_sigabrt_leaves_in_the_log_where_the_host_was(
    listener: socket.socket, tmp_path: Path
) -> None:
    host = subprocess.Popen(
        [
            *(sys.executable, "-m", "punktfunk", "serve", "--source=synthetic", "--bind=127.0.0.1"),
            *(
                "--native-port=0",
                "--no-gamestream",
                "--no-mdns",
                "--no-mgmt",
                f"--state-dir={tmp_path / 'host'}",
            ),
        ],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "NOTIFY_SOCKET": listener.getsockname()},
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert listener.recv(4096).startswith(b"READY=1")
        host.send_signal(signal.SIGABRT)
        _, errors = host.communicate(timeout=PATIENCE_S)
    finally:
        host.kill()
        host.wait()
    assert host.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in errors
    assert "asyncio" in errors
    assert "cli_run.py" in errors, "the stack of the main thread"


def test_a_loop_that_hangs_pings_no_more_though_its_process_and_its_threads_live(
    listener: socket.socket,
) -> None:
    listener.settimeout(0)

    def drain() -> int:
        count = 0
        try:
            while True:
                assert listener.recv(4096) == b"WATCHDOG=1"
                count += 1
        except BlockingIOError:
            return count

    async def hang() -> tuple[int, int]:
        with ServiceManager(listener.getsockname(), interval_s=0.15) as manager:
            manager.ready("")
            listener.recv(4096)
            while (before := drain()) == 0:
                await asyncio.sleep(0.01)
            threading.Event().wait(0.6)
            during = drain()
            while drain() == 0:
                await asyncio.sleep(0.01)
        return before, during

    began = time.monotonic()
    before, during = asyncio.run(hang())
    assert before >= 1
    assert during == 0
    assert time.monotonic() - began < PATIENCE_S


def test_without_a_socket_nobody_supervises_and_nothing_of_it_stays_in_the_environment() -> None:
    environ = {"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1", "HOME": "/home/me"}
    assert ServiceManager.of_environment(environ) is None
    assert environ == {"HOME": "/home/me"}


def test_what_a_host_starts_does_not_find_its_manager() -> None:
    environ = {"NOTIFY_SOCKET": "/run/nobody", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    manager = ServiceManager.of_environment(environ)
    assert manager is not None
    assert manager.interval_s == 30.0
    assert not environ
    manager.close()


@pytest.mark.parametrize(
    ("variables", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000"}, 0.03),
        ({"WATCHDOG_USEC": "30000", "WATCHDOG_PID": str(os.getpid())}, 0.03),
        ({"WATCHDOG_USEC": "30000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
    ],
)
def test_a_watchdog_is_that_of_this_process_alone(
    variables: dict[str, str], interval_s: float | None
) -> None:
    manager = ServiceManager.of_environment({"NOTIFY_SOCKET": "@punktfunk-test", **variables})
    assert manager is not None
    assert manager.interval_s == interval_s
    manager.close()


@pytest.mark.parametrize(
    ("variables", "cause"),
    [
        ({"NOTIFY_SOCKET": "run/notify"}, "NOTIFY_SOCKET is 'run/notify'"),
        ({"NOTIFY_SOCKET": "/"}, "NOTIFY_SOCKET is '/'"),
        ({"NOTIFY_SOCKET": "/" + 107 * "x"}, "NOTIFY_SOCKET is '/x"),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, "NOTIFY_SOCKET is 'vsock"),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "29999"}, "WATCHDOG_USEC is '29999'"),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "-5"}, "WATCHDOG_USEC is '-5'"),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "²"}, "WATCHDOG_USEC is"),
    ],
)
def test_a_variable_that_is_invalid_is_refused_with_its_name(variables: dict[str, str], cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        ServiceManager.of_environment(variables)


def test_the_longest_address_is_taken() -> None:
    manager = ServiceManager.of_environment({"NOTIFY_SOCKET": "/" + 106 * "x"})
    assert manager is not None
    manager.close()


def test_an_abstract_address_is_heard_and_a_status_is_one_line() -> None:
    name = f"punktfunk-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        manager = ServiceManager(f"@{name}")
        manager.ready("3 streaming\nMAINPID=1")
        manager.status("two")
        manager.stopping()
        assert [listener.recv(4096) for _ in range(3)] == [
            b"READY=1\nSTATUS=3 streaming\\nMAINPID=1",
            b"STATUS=two",
            b"STOPPING=1",
        ]
        manager.close()


def test_a_manager_that_does_not_listen_is_no_failure_of_the_host() -> None:
    manager = ServiceManager("/nonexistent/notify")
    manager.ready("ready")
    manager.close()
