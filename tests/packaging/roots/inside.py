"""Inside of a bare Debian, by its own Python alone: what the installed punktfunk can do there, and a stream of it.

``inside.py REPORT`` writes what it found to a JSON file, and fails where a step does.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = "/venv/.local/punktfunk/bin/punktfunk"
FRAMES = 300
PATIENCE_S = 180
"""Ends what hangs; no claim about speed."""
_COMPILERS = ("cc", "gcc", "clang", "tcc", "rustc", "cargo")


def main(report: Path) -> None:
    """Run the doctor, a host and its client as README has them, and write the report."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home
        doctor = subprocess.run(
            [PROGRAM, "doctor", "--json"], stdout=subprocess.PIPE, timeout=PATIENCE_S, check=False
        )
        findings = json.loads(doctor.stdout)
        status, counters = stream(Path(home) / "record")
    found = {
        "glibc": platform.libc_ver()[1],
        "python": platform.python_version(),
        "compilers": [name for name in _COMPILERS if shutil.which(name)],
        "doctor": doctor.returncode,
        "lacking": [each["name"] for each in findings if not each["ok"]],
        "connect": status,
        "counters": counters,
    }
    report.write_text(json.dumps(found), encoding="utf-8")


def stream(record: Path) -> tuple[int, dict[str, int]]:
    """Stream the test card over loopback; return the client's exit status and what it counted."""
    serve = [PROGRAM, "serve", "--source", "testcard", "--frames", str(FRAMES), "--arm", str(PATIENCE_S)]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as host:
        try:
            subprocess.run(
                [PROGRAM, "pair", "127.0.0.1", "--pin", pin(host), "--name", "proof"],
                timeout=PATIENCE_S, check=True,
            )  # fmt: skip
            connect = [PROGRAM, "connect", "127.0.0.1", "--record", str(record)]
            status = subprocess.run(connect, timeout=PATIENCE_S, check=False).returncode
        finally:
            host.send_signal(signal.SIGINT)
            host.communicate(timeout=PATIENCE_S)
    counters: dict[str, int] = json.loads((record / "stats.json").read_text(encoding="utf-8"))["counters"]
    return status, counters


def pin(host: subprocess.Popen[str]) -> str:
    """Read what a host prints at its start, up to its PIN."""
    assert host.stdout is not None
    for line in host.stdout:
        print(line, end="")
        if found := re.search(r"^next .*--pin (\d+)", line):
            return found[1]
    raise SystemExit("the host ended before it showed a PIN")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
