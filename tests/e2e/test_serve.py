"""``punktfunk serve`` as a person runs it: what it prints, what it refuses, and that nothing is left of it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from punktfunk.errors import CursorPaintedError, DesktopError
from tests.support.waiting import PATIENCE_S

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "punktfunk"]
IsGone = Callable[[int, float], bool]


class Served:
    """One ``punktfunk serve`` on loopback, with what it printed at its start; without GameStream by default."""

    def __init__(self, folder: Path, *options: str, gamestream: Sequence[str] = ("--no-gamestream",)) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [
                *COMMAND,
                "serve",
                "--bind",
                "127.0.0.1",
                "--native-port",
                "0",
                "--state-dir",
                str(folder),
                "--source",
                "synthetic",
                "--frame-bytes",
                "4000",
                "--mgmt-bind",
                "127.0.0.1:0",
                *gamestream,
                *options,
            ],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.banner = ""
        self.rest = ""
        self.errors = ""
        self._ended = False
        for line in self.process.stdout:
            self.banner += line
            if line.startswith("next"):
                break

    def find(self, pattern: str) -> str:
        found = re.search(pattern, self.banner)
        assert found is not None, f"no {pattern!r} in {self.banner!r}"
        return found[1]

    @property
    def address(self) -> str:
        return self.find(r"native host  (\S+)")

    def end(self) -> int:
        if self.process.poll() is None and self.banner:
            self.process.send_signal(signal.SIGINT)
        if not self._ended:
            self._ended = True
            self.rest, self.errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(*options: str, folder: str = "host", **others: Sequence[str]) -> Served:
        started.append(Served(tmp_path / folder, *options, **others))
        return started[-1]

    yield start
    for one in started:
        one.end()


def call(state_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments, "--state-dir", str(state_dir)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_pair_by_the_printed_pin_then_connect_without_naming_a_fingerprint(
    served: Callable[..., Served], tmp_path: Path
) -> None:
    host = served("--no-mdns", "--arm", "120", "--frames", "300", "--mode", "1280x720@240")
    pin = host.find(r"--pin (\d{4})\b")
    paired = call(tmp_path / "laptop", "pair", host.address, "--pin", pin, "--name", "laptop")
    assert paired.returncode == 0, paired.stderr
    assert host.find(r"fingerprint  ([0-9a-f]{64})") in paired.stdout
    connected = call(tmp_path / "laptop", "connect", host.address)
    assert connected.returncode == 0, connected.stderr
    assert "verification passed: 300 of 300 frames intact" in connected.stdout
    stranger = call(tmp_path / "stranger", "connect", host.address, "--pin", host.find(r"([0-9a-f]{64})"))
    assert stranger.returncode == 1
    assert "does not know this client" in stranger.stderr
    late = call(tmp_path / "stranger", "pair", host.address, "--pin", pin)
    assert late.returncode == 1
    assert "not armed" in late.stderr


def test_two_hosts_run_side_by_side_and_one_state_folder_takes_one_host(
    served: Callable[..., Served], tmp_path: Path
) -> None:
    one = served("--no-mdns")
    two = served("--no-mdns", folder="other")
    assert one.address != two.address
    third = Served(tmp_path / "host", "--no-mdns")
    assert third.end() == 2
    assert "another host uses the state folder" in third.errors


@pytest.mark.measures
def test_ctrl_c_ends_everything_within_two_seconds_and_the_client_is_told(
    served: Callable[..., Served], tmp_path: Path, is_gone: IsGone
) -> None:
    host = served("--no-mdns", "--open")
    assert "pairing is off" in host.banner
    client = subprocess.Popen(
        [*COMMAND, "connect", host.address, "--state-dir", str(tmp_path / "laptop")],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert client.stdout is not None
    assert any("fps" in line and not line.startswith("   0") for line in client.stdout)
    children = Path(f"/proc/{host.process.pid}/task/{host.process.pid}/children").read_text().split()
    assert children
    started = time.monotonic()
    host.process.send_signal(signal.SIGINT)
    assert host.process.wait(5) == 0
    assert time.monotonic() - started < 2
    assert all(is_gone(int(pid), 0.5) for pid in children)
    out, _ = client.communicate(timeout=PATIENCE_S)
    assert "host stopped" in out
    assert host.end() == 0
    assert re.search(
        r"^session 1 127\.0\.0\.1 1280x720@60: [1-9]\d* frames, .* host stopped$", host.rest, re.M
    )


@pytest.mark.measures
def test_ctrl_c_waits_for_no_browser(served: Callable[..., Served], tmp_path: Path) -> None:
    host = served("--no-mdns")
    url, _, ticket = host.find(r"console      (\S+)").partition("/#ticket=")
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    assert len(ticket) >= 43
    token = (tmp_path / "host" / "mgmt-token").read_text().strip()
    head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    held = [socket.create_connection(address, 5) for _ in range(4)]
    held[1].sendall(b"GET /api/v1/host HTTP/1.1\r\n" + head)
    assert held[1].recv(4096).startswith(b"HTTP/1.1 200")
    held[2].sendall(b"GET /api/v1/host HTTP/1.1\r\nHost:")
    held[3].sendall(b"GET /api/v1/events HTTP/1.1\r\n" + head)
    assert held[3].recv(4096).startswith(b"HTTP/1.1 200")
    started = time.monotonic()
    assert host.end() == 0
    assert time.monotonic() - started < 2
    assert host.errors == ""
    assert not (tmp_path / "host" / "mgmt-url").exists()
    for one in held:
        one.close()


def test_a_host_is_found_by_its_announcement_and_gone_with_it(
    served: Callable[..., Served], tmp_path: Path
) -> None:
    host = served()
    fingerprint = host.find(r"fingerprint  ([0-9a-f]{64})")
    deadline = time.monotonic() + PATIENCE_S
    found = ""
    while fingerprint not in found:
        assert time.monotonic() < deadline, found
        found = call(tmp_path / "laptop", "discover", "--interface", "127.0.0.1", "--seconds", "1.5").stdout
    [line] = [line for line in found.splitlines() if fingerprint in line]
    assert host.address in line
    assert "pairing required" in line
    assert host.end() == 0
    gone = call(tmp_path / "laptop", "discover", "--interface", "127.0.0.1", "--seconds", "1")
    assert fingerprint not in gone.stdout


@pytest.mark.slow
def test_a_paired_device_that_retries_is_let_in_again_by_a_host_that_was_killed_and_restarted(
    served: Callable[..., Served], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    host = served("--no-mdns", "--native-port", port, "--arm", "120")
    device = tmp_path / "laptop"
    assert call(device, "pair", host.address, "--pin", host.find(r"--pin (\d{4})\b")).returncode == 0
    watching = subprocess.Popen(
        [*COMMAND, "connect", host.address, "--state-dir", str(device)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("stream")
    host.process.kill()
    host.process.wait()
    refused = call(device, "connect", host.address)
    assert refused.returncode == 5
    assert "nothing listens on that port" in refused.stderr
    again = served("--no-mdns", "--native-port", port, "--frames", "30")
    assert again.address == host.address
    deadline = time.monotonic() + PATIENCE_S
    while (back := call(device, "connect", again.address)).returncode and time.monotonic() < deadline:
        pass
    assert "verification passed: 30 of 30 frames intact" in back.stdout, back.stderr
    # The session of the killed host ends by itself, in words and in time.
    out, _ = watching.communicate(timeout=PATIENCE_S)
    assert "the host fell silent" in out or "the host is gone" in out
    assert watching.returncode == 1


def test_where_no_desktop_comes_up_the_test_card_is_served_and_a_desktop_that_was_asked_for_is_not(
    served: Callable[..., Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "programs"
    broken.mkdir()
    (broken / "sway").write_text("#!/bin/sh\nexit 3\n")
    (broken / "sway").chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken}:{os.environ['PATH']}")
    for variable in ("WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)
    host = served("--source", "auto")
    assert "streaming    testcard" in host.banner
    assert "WARNING      no desktop: no desktop can be streamed here (kwin: " in host.banner
    assert "headless-sway: sway did not come up" in host.banner
    host.end()
    refused = served("--source", "auto", "--desktop", "headless-sway")
    assert refused.end() == DesktopError.exit_code
    assert "sway did not come up" in refused.errors


def test_a_pointer_that_has_to_be_told_and_cannot_is_refused_with_what_would_help(
    served: Callable[..., Served],
) -> None:
    refused = served("--cursor", "separate")
    assert refused.end() == CursorPaintedError.exit_code == 4
    assert "the synthetic has none [PF530]" in refused.errors
    assert "--cursor auto" in refused.errors
