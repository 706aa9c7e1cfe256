"""User namespaces: what makes network namespaces possible without root, and whether they are to be had here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from typing import Any

from harness.network.registry import FOLDER_VARIABLE, registry_folder

UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "--kill-child=KILL", "--")
"""What starts a program as the root of namespaces of its own."""


def needed() -> bool:
    """Return whether this process may not make network namespaces itself."""
    return os.geteuid() != 0


@cache
def refusal() -> str:
    """Return why a user namespace cannot be had here, "" when it can."""
    if not shutil.which("unshare"):
        return "the unshare program is not installed (apt-get install util-linux)"
    done = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False, timeout=10)
    return "" if done.returncode == 0 else " ".join(done.stderr.split()) or "unshare failed"


def python(program: str) -> Any:
    """Run a Python program in a user namespace and return the JSON value that it prints; why it failed, if so."""
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**os.environ, FOLDER_VARIABLE: str(registry_folder())},
    )
    return json.loads(done.stdout) if done.returncode == 0 else " ".join(done.stderr.split())[-300:]
