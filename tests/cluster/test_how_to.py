"""The page "run on a cluster", command by command: certificates, parts, the run, and who is kept out."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.machines import MANY, ROOT, digest_of
from tests.support.waiting import eventually

PAGE = (ROOT / "docs/how-to/run-on-a-cluster.md").read_text(encoding="utf-8")
PORT = 8786


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


class Shell:
    """Runs the page's commands in a folder that stands for each machine's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        (folder / "dask").mkdir()
        (yaml,) = fences("yaml")
        (folder / "dask" / "punktfunk.yaml").write_text(
            yaml.replace("/etc/punktfunk-lab", str(folder)), "utf-8"
        )
        (folder / "scenarios").symlink_to(ROOT / "scenarios")
        bin_folder = Path(sys.executable).parent
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "CI": "",
            "DASK_CONFIG": str(folder / "dask"),
        }

    def run(self, command: str, *, tls: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a line to its end; without ``tls`` as somebody who has no certificates."""
        environment = dict(self.environment)
        if not tls:
            environment["DASK_CONFIG"] = str(self.folder / "none")
        return subprocess.run(
            self._adapted(command),
            shell=True,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def start(self, command: str, name: str) -> None:
        """Start a line that goes on until the test ends."""
        with (self.folder / f"{name}.log").open("wb") as log:
            words = self._adapted(command).split()
            self._running.append(
                subprocess.Popen(words, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
            )

    def log(self, name: str) -> str:
        """Return what it has said."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End what was started."""
        for process in reversed(self._running):
            process.terminate()
            process.wait(timeout=60)

    @staticmethod
    def _adapted(command: str) -> str:
        command = command.replace("SCHEDULER", "127.0.0.1")
        return re.sub(r"^punktfunk-lab ", f"{sys.executable} -m harness ", command)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.close()


def heard_without_a_certificate(authority: Path) -> bytes:
    """Return what the scheduler says to a peer that knows its authority and proves nothing itself."""
    context = ssl.create_default_context(cafile=str(authority))
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", PORT), 10) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        wrapped.settimeout(30)
        heard = wrapped.recv(1)
    if not heard:
        raise ConnectionError("closed without a word")
    return heard


def test_each_command_of_the_page_does_what_it_says_and_peers_without_a_certificate_are_kept_out(
    shell: Shell, need_tool: Callable[..., str]
) -> None:
    need_tool("openssl")
    certificates, parts, run = fences("sh")
    for line in certificates.splitlines():
        done = shell.run(line)
        assert done.returncode == 0, done.stderr
    scheduler, worker = parts.splitlines()
    shell.start(scheduler, "scheduler")
    eventually(lambda: "Scheduler at:" in shell.log("scheduler"), "the scheduler", 300.0)
    assert "tls://" in shell.log("scheduler")
    shell.start(worker, "worker")
    eventually(lambda: shell.log("scheduler").count("Register worker") == 2, "two workers", 300.0)
    done = shell.run(run)
    assert done.returncode == 0, done.stdout + done.stderr
    here = shell.run("punktfunk-lab run scenarios/burst.yaml -j 1 --no-charts --out here")
    assert digest_of(done.stdout) == digest_of(here.stdout)
    # Who has no certificate gets nothing from the port: neither in the clear nor by TLS.
    bare = shell.run(run, tls=False)
    assert bare.returncode == 2, bare.stdout + bare.stderr
    assert "error[PF682]" in bare.stderr
    bare = shell.run(f"{run.rstrip()} --insecure-cluster", tls=False)
    assert bare.returncode == 5, bare.stdout + bare.stderr
    assert "error[PF680]" in bare.stderr
    with pytest.raises((ssl.SSLError, ConnectionError)):
        heard_without_a_certificate(shell.folder / "authority.pem")


def test_local_workers_are_started_and_the_rows_are_read_as_the_page_says(
    shell: Shell, tmp_path: Path
) -> None:
    local = next(
        line.strip() for line in PAGE.splitlines() if "--on local:2" in line and line.startswith("    ")
    )
    done = shell.run(local, tls=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "many.yaml").write_text(MANY.replace("frames: 30", "frames: 2"), encoding="utf-8")
    done = shell.run("punktfunk-lab run many.yaml -j 2 --no-charts --out table", tls=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "table").iterdir()
    (code,) = fences("python")
    code = code.replace("reports/RUN", f"table/{folder.name}")
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert "axis.fec" in shown.stdout
    assert shell.run("punktfunk-lab run scenarios/atlas.yaml --dry-run").stdout.startswith(
        "100000 cases, about "
    )
