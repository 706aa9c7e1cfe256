"""``python -m tests.desktops.rig``: make the root, install the wheel in it and run the tests inside."""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
import time
from pathlib import Path

from punktfunk.errors import PunktfunkError
from punktfunk.terminal import say
from tests.desktops.rig import environment, report, root
from tests.desktops.rig.enter import run_in
from tests.desktops.rig.packages import SUITES

_REPOSITORY = Path(__file__).parents[3]
SIDE_BY_SIDE = "2"
"""Files of tests that run beside each other: compositors wait for much, and render in software when they do not."""


def main(arguments: list[str] | None = None) -> int:
    """Run the tests and return pytest's exit status, or that of what kept them from running."""
    parser = argparse.ArgumentParser(
        prog="nox -s desktops --",
        description=__doc__,
        epilog="Everything else is pytest's.",
        allow_abbrev=False,
    )
    parser.add_argument("--suite", choices=SUITES, default="stable")
    parser.add_argument("--anew", action="store_true", help="make the root again, with today's packages")
    parser.add_argument(
        "--record",
        action="store_true",
        help=f"take figures instead, all or those that -k names, keep them and write {report.PAGE}",
    )
    parser.add_argument(
        "--shell", nargs=argparse.REMAINDER, help="run this command inside instead of the tests"
    )
    given, rest = parser.parse_known_args(arguments)
    suite = SUITES[given.suite]
    began = time.monotonic()
    folder = _REPOSITORY / ".nox" / "desktops" / suite.name
    out = _REPOSITORY / "reports" / "desktops" / suite.name
    for made in (folder, out):
        made.mkdir(parents=True, exist_ok=True)
    try:
        made_in = root.prepare(suite, anew=given.anew)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            venv = environment.prepare(made_in, folder)
        say(f"desktops: root and environment are there after {time.monotonic() - began:.0f} s")
        whole = not rest
        if given.record:
            rest = ["--figures", "tests/desktops/test_figures.py", *rest]
        named = any(word.startswith("tests/") for word in rest)
        command = given.shell or [
            *("python", "-m", "pytest", "-p", "no:cacheprovider", "--durations=15"),
            *rest,
            *(() if named else ("-n", SIDE_BY_SIDE, "--dist", "loadscope", "tests/desktops")),
        ]
        env = {"PUNKTFUNK_DESKTOPS": suite.name, "PYTHONDONTWRITEBYTECODE": "1"}
        status = run_in(made_in, command, venv=venv, out=out, env=env)
        if given.record and status == 0:
            taken = json.loads((out / "figures.json").read_text(encoding="utf-8"))
            report.keep(_REPOSITORY, suite.name, taken, whole=whole)
            say(f"desktops: {report.write(_REPOSITORY)} is written")
    except PunktfunkError as error:
        say(error, err=True)
        return error.exit_code
    return status


if __name__ == "__main__":
    sys.exit(main())
