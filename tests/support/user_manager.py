"""systemd's own manager of a user, in a mount and a cgroup namespace: a real one, on machines that do not run systemd.

Wants root, for the namespaces, and the program (``apt-get install systemd``). Its runtime folder is outside of them, so
that ``systemctl --user`` of the test's own process asks it. There is no journal and no logind: those are in the machine
of ``nox -s service-vm``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.waiting import PATIENCE_S, eventually

REPOSITORY = Path(__file__).parents[2]
PROGRAM = Path("/lib/systemd/systemd")
_ASK_EVERY_S = 0.2

_BEGIN = """\
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system
mount -t tmpfs tmpfs /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$1" && echo $$ > "/sys/fs/cgroup/$1/cgroup.procs"
exec "$2" --user
"""
_END = """\
mount -t tmpfs tmpfs /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup
find "/sys/fs/cgroup/$1" -depth -type d -exec rmdir {} +
"""
_APART = ("unshare", "--mount", "--cgroup", "--propagation", "private")


class RunningManager:
    """A manager, and the environment of who may ask it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.runtime = folder / "run"
        self.config = self.home / ".config"
        for made in (self.home, self.runtime):
            made.mkdir(mode=0o700)
        self.log_path = folder / "log"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "PYTHONPATH": str(REPOSITORY),
            "LANG": "C.UTF-8",
            "COLUMNS": "200",
        }
        self._group = f"punktfunk-test-{os.getpid()}-{folder.name}"
        with self.log_path.open("wb") as log:
            # Its log goes to a file: there is no journal.
            self.process = subprocess.Popen(
                [*_APART, "sh", "-ec", _BEGIN, "sh", self._group, str(PROGRAM)],
                env={**self.env, "SYSTEMD_LOG_TARGET": "console", "SYSTEMD_LOG_COLOR": "0"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def systemctl(self, *words: str) -> str:
        """Ask it; fail the test when it refuses."""
        done = subprocess.run(
            ["systemctl", "--user", "--no-pager", *words],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr + self.log_path.read_text()
        return done.stdout.strip()

    def property(self, unit: str, name: str) -> str:
        return self.systemctl("show", "--value", "--property", name, unit)

    def wait_for(self, unit: str, name: str, holds: Callable[[str], bool]) -> None:
        """Wait until that holds of a property; asking costs a process, so that it is not done all the time."""
        pause = threading.Event()
        eventually(
            lambda: holds(self.property(unit, name)) or pause.wait(_ASK_EVERY_S), f"{name} of {unit} changes"
        )

    def runs(self) -> bool:
        assert self.process.poll() is None, self.log_path.read_text()
        asked = ["systemctl", "--user", "show", "--property=Version"]
        return not subprocess.run(asked, env=self.env, capture_output=True, check=False).returncode

    def end(self) -> None:
        """End it, with all that it has started."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        subprocess.run([*_APART, "sh", "-ec", _END, "sh", self._group], check=True, capture_output=True)


@contextlib.contextmanager
def user_manager() -> Iterator[RunningManager]:
    """Give a manager that answers. The folder's name is short: sockets are in it."""
    folder = Path(tempfile.mkdtemp(prefix="pf-um-"))
    running = RunningManager(folder)
    try:
        eventually(running.runs, "systemd's manager of the user answers")
        yield running
    finally:
        running.end()
        shutil.rmtree(folder)
