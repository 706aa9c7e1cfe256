"""A host whose GPU's encoder is refused or fails while somebody watches: the stream goes on, and everybody is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from punktfunk.host.serve import LOCK_FILE
from punktfunk.media import EncoderName
from punktfunk.mgmt.remote import RunningHost
from punktfunk.trust.identity import Identity, Role
from tests.support import gpu_doubles
from tests.support.waiting import PATIENCE_S

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "punktfunk"]
SERVE = (
    *("serve", "--open", "--bind", "127.0.0.1", "--native-port", "0", "--mgmt-bind", "127.0.0.1:0"),
    *("--no-gamestream", "--no-mdns", "--no-inhibit", "--source", "testcard", "--codec", "h264"),
    *("--mode", "480x272@60", "--bitrate", "2 Mbit/s"),
)
FAILS_AT = 12


class Served:
    """A host that believes in an NVIDIA GPU, with what it printed at its start."""

    def __init__(self, folder: Path, wrong: str, *options: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [*COMMAND, *SERVE, *options, "--state-dir", str(folder)],
            cwd=REPOSITORY,
            env={**os.environ, **gpu_doubles.with_nvidia(wrong), "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.banner: dict[str, str] = {}
        for line in self.process.stdout:
            name, _, rest = line.partition("  ")
            self.banner[name] = rest.strip()
            if name == "next":
                break

    def asked(self, path: str) -> Any:
        certificate, _ = Identity.paths(self.folder, Role.HOST)
        running = RunningHost.find(self.folder, certificate=certificate, lock=self.folder / LOCK_FILE)
        return running.call("GET", f"/api/v1/{path}")

    def prints(self, start: str) -> str:
        """Wait for a line that begins so; return it."""
        assert self.process.stdout is not None
        return next(line.rstrip() for line in self.process.stdout if line.startswith(start))

    def end(self) -> str:
        """End it; return what it has printed since."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=PATIENCE_S)[0]


def test_an_encoder_that_fails_in_mid_stream_is_followed_by_the_next_and_log_console_and_terminal_say_so(
    tmp_path: Path,
) -> None:
    host = Served(tmp_path / "host", f"fails {FAILS_AT}")
    client: subprocess.Popen[bytes] | None = None
    try:
        assert host.banner["encoder"] == "nvenc-h264 (the GPU encodes it)"
        address = host.banner["native host"].split()[0]
        connect = [
            "connect",
            address,
            "--state-dir",
            str(tmp_path / "client"),
            "--record",
            str(tmp_path / "seen"),
        ]
        client = subprocess.Popen([*COMMAND, *connect], cwd=REPOSITORY, stdout=subprocess.PIPE)
        said = host.prints("WARNING").removeprefix("WARNING      session 1: ")
        [told] = host.asked("sessions")
        successor = EncoderName(told["encoder"])
        assert told["notices"] == [said]
        assert successor not in {EncoderName.NVENC_H264, EncoderName.NVENC_HEVC}
        assert said.startswith(
            f"{successor} took over: nvenc-h264 failed on frame {FAILS_AT}: nvEncEncodePicture: generic error (20)"
        )
        [check] = [row for row in host.asked("readiness")["checks"] if said in row["text"]]
        assert (check["name"], check["ok"], check["fix"]) == ("encoder", False, "punktfunk encoders --test")
        lines = [line for line in host.asked("logs") if line["event"] == "encoder refused"]
        assert lines[0]["fields"]["encoder"] == "nvenc-h264"
        assert lines[0]["fields"]["code"] == "PF541"
        assert {line["fields"]["successor"] for line in lines} == {successor}
        assert client.stdout is not None
        next(line for line in client.stdout if b" fps " in line)  # the stream goes on
        client.send_signal(signal.SIGINT)
        client.wait(PATIENCE_S)
        assert "took over" not in host.end(), "it is told once"
        seen = json.loads((tmp_path / "seen" / "stats.json").read_text())["counters"]
        assert seen["strips_read"] > FAILS_AT
        assert seen["strips_unreadable"] == 0
    finally:
        if client is not None and client.poll() is None:
            client.kill()
        host.end()


def test_an_encoder_that_cannot_be_opened_is_passed_over_before_anybody_connects(tmp_path: Path) -> None:
    host = Served(tmp_path / "host", "refuses", "--no-mgmt")
    try:
        name, _, reason = host.banner["encoder"].partition(" ")
        assert name != "nvenc-h264"
        assert (
            "nvenc-h264 cannot be opened at 640x480@60: nvEncOpenEncodeSessionEx: OUT_OF_MEMORY (10)"
            in reason
        )
    finally:
        host.end()
