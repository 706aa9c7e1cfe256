"""The nightly Rust that sanitizers and coverage-guided fuzzing want."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CORE: Final = ROOT / "punktfunk" / "core"

MISSING: Final = """\
{what} is built by nightly Rust, and this machine has none: {cause}
  → rustup toolchain install nightly --profile minimal
  → without rustup (a Rust of the distribution): https://rustup.rs, which leaves that Rust where it is"""


def need_nightly(what: str) -> tuple[str, ...]:
    """Return the command in front of a nightly program; raise ``SystemExit`` with the fix where there is none."""
    rustup = shutil.which("rustup")
    if rustup is None:
        sys.exit(MISSING.format(what=what, cause="rustup is not on PATH"))
    # RUSTUP_AUTO_INSTALL: a missing toolchain is said, and not fetched behind the back of whoever asked for a test.
    asked = subprocess.run(
        [rustup, "run", "nightly", "rustc", "--version"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"RUSTUP_AUTO_INSTALL": "0"},
    )
    if asked.returncode != 0:
        lines = asked.stderr.strip().splitlines() or ["rustup said nothing"]
        sys.exit(MISSING.format(what=what, cause=lines[0]))
    return (rustup, "run", "nightly")


if __name__ == "__main__":
    need_nightly(sys.argv[1])
