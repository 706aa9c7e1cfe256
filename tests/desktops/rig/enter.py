"""Run a command in a root, in namespaces of its own: nothing is left after it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_SCRIPT: Final = Path(__file__).with_name("enter.sh")
_REPOSITORY: Final = Path(__file__).parents[3]
_PATH: Final = "/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ISOLATED: Final = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
)
"""Mounts and processes of their own, which end with whoever began them, killed or not."""
_KEPT: Final = ("CI", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM", "PYTEST_ADDOPTS")


def run_in(
    root: Path,
    command: Sequence[str],
    *,
    venv: Path,
    out: Path,
    env: Mapping[str, str] | None = None,
    network: bool = False,
) -> int:
    """Run a command in ``root`` and return its exit status.

    ``venv`` is mounted at /venv, ``out`` at /out, the tests and documents of this clone at /src. Every process ends
    with the command: they share a process namespace. With ``network`` the machine's network is there and /venv may be
    written to, which is how the environment is made; without, there is a loopback interface.
    """
    isolated = [*ISOLATED] if network else [*ISOLATED, "--net"]
    given = (str(root), str(_REPOSITORY), str(venv), str(out), "writable" if network else "")
    inside = {name: os.environ[name] for name in _KEPT if name in os.environ}
    inside |= {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", "XDG_RUNTIME_DIR": "/run/u", **(env or {})}
    process = subprocess.Popen(
        [*isolated, "sh", str(_SCRIPT), *given, *command], env=inside, stdin=subprocess.DEVNULL
    )
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
