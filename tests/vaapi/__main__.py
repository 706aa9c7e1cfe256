"""Encode by VA-API without a GPU: real libva, FFmpeg and PyAV over a driver of our own: ``nox -s vaapi``; as root.

In a root of Debian testing, whose FFmpeg is new enough, PyAV is built from source (docs/how-to/encode-on-a-gpu.md).
"""

from __future__ import annotations

import argparse
import fcntl
import sys
from typing import Final

from punktfunk.errors import PunktfunkError
from punktfunk.terminal import say
from tests.desktops.rig import environment, root
from tests.desktops.rig.enter import run_in
from tests.desktops.rig.packages import TESTING, Suite
from tests.support.wheel import ROOT

SUITE: Final = Suite(
    "vaapi",
    TESTING.codename,
    (
        *("gcc", "libc6-dev", "libva-dev", "pkg-config", "python3", "python3-dev", "python3-venv", "vainfo"),
        *(f"lib{name}-dev" for name in ("avcodec", "avdevice", "avfilter", "avformat", "avutil")),
        *(f"lib{name}-dev" for name in ("swresample", "swscale")),
    ),
    TESTING.options,
    effort="some 3 minutes, 1 GB",
)
INSIDE: Final = "PUNKTFUNK_VAAPI"
"""Environment variable that says that this is that root."""
_BESIDE: Final = ("--no-binary=av", "hypothesis", "pytest", "pytest-timeout", "pytest-xdist", "pyroute2")
"""What pip is told beside the project's own packages: PyAV is built here, with this root's FFmpeg."""
_NODE: Final = ("sh", "/src/tests/vaapi/node.sh")


def main(arguments: list[str] | None = None) -> int:
    """Run the tests inside and return pytest's exit status, or that of what kept them from running."""
    parser = argparse.ArgumentParser(
        prog="nox -s vaapi --", description=__doc__, epilog="Everything else is pytest's.", allow_abbrev=False
    )
    parser.add_argument("--anew", action="store_true", help="make the root again, with today's packages")
    parser.add_argument(
        "--shell", nargs=argparse.REMAINDER, help="run this command inside instead of the tests"
    )
    given, rest = parser.parse_known_args(arguments)
    folder, out = ROOT / ".nox" / SUITE.name, ROOT / "reports" / SUITE.name
    for made in (folder, out):
        made.mkdir(parents=True, exist_ok=True)
    try:
        made_in = root.prepare(SUITE, anew=given.anew)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            say("vaapi: PyAV is built from source (some 5 minutes, once)")
            venv = environment.prepare(made_in, folder, extras=(), beside=_BESIDE)
        named = any(word.startswith("tests/") for word in rest)
        tests = (
            "python",
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            *rest,
            *(() if named else ("tests/vaapi",)),
        )
        command = [*_NODE, *(given.shell or tests)]
        return run_in(made_in, command, venv=venv, out=out, env={INSIDE: "1", "PYTHONDONTWRITEBYTECODE": "1"})
    except PunktfunkError as error:
        say(error, err=True)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
