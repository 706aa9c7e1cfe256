"""Install a release in bare Debians, by README's line, and stream there: ``nox -s dist-roots``; as root."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from punktfunk.errors import CheckFailedError, HarnessError, PunktfunkError
from punktfunk.rich_terminal import Console
from punktfunk.terminal import say
from tests.desktops.rig import environment, root
from tests.desktops.rig.enter import run_in
from tests.desktops.rig.packages import Suite
from tests.packaging.release.folder import INSTALL, SUMS
from tests.packaging.roots.inside import FRAMES
from tests.support.wheel import ROOT

BARE: Final = {
    name: Suite(name, name, ("python3", "python3-venv"), effort="half a minute, 200 MB")
    for name in ("bookworm", "trixie")
}
"""Debian 12 and 13 with nothing but what README asks for."""
_PLACE: Final = ROOT / ".nox" / "dist-roots"
_USER: Final = 1000
_AS_USER: Final = (
    *("setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"),
    *("env", "-u", "XDG_RUNTIME_DIR", "HOME=/venv", "PATH=/usr/local/bin:/usr/bin:/bin", "PIP_QUIET=1"),
)
"""As a person without rights; /venv, which lasts from the installation to the stream, is the home folder."""


def main(arguments: list[str] | None = None) -> int:
    """Prove a release in each root, print a table, and return the exit status."""
    parser = argparse.ArgumentParser(prog="nox -s dist-roots --", description=__doc__)
    parser.add_argument(
        "--suite", choices=BARE, action="append", help="in this Debian alone (may be repeated)"
    )
    parser.add_argument("--anew", action="store_true", help="make the roots again, with today's packages")
    given = parser.parse_args(arguments)
    try:
        releases = sorted((ROOT / "dist").glob(f"*/{SUMS}"), key=lambda path: path.stat().st_mtime)
        if not releases:
            raise HarnessError("there is no release in dist/", "nox -s dist")
        found = {
            name: prove(BARE[name], releases[-1].parent, anew=given.anew) for name in given.suite or BARE
        }
        Console().print(table(found))
        for name, report in found.items():
            say(f"{name} lacks, which nothing here needs: {', '.join(report['lacking'])}")
        faults = [f"{name}: {fault}" for name, report in found.items() for fault in faults_of(report)]
        if faults:
            raise CheckFailedError(f"{releases[-1].parent.name} in bare roots: {'; '.join(faults)}")
    except PunktfunkError as error:
        say(error, err=True)
        return error.exit_code
    return 0


def prove(suite: Suite, release: Path, *, anew: bool) -> dict[str, Any]:
    """Install ``release`` in the suite's root as README says, stream there, and return what was found.

    Raises HarnessError where a step fails, and what :func:`tests.desktops.rig.root.prepare` raises.
    """
    made_in = root.prepare(suite, anew=anew)
    place = _PLACE / suite.name
    shutil.rmtree(place, ignore_errors=True)
    home, out = place / "home", place / "out"
    shutil.copytree(release, out / "release")
    home.mkdir()
    for folder in (home, out):
        os.chown(folder, _USER, _USER)
    say(f"dist-roots: installing {release.name} in a bare Debian {suite.codename}")
    began = time.monotonic()
    lines = f"cd /out/release && sha256sum --quiet -c {SUMS} && {INSTALL}"
    environment.fetching(made_in, [*_AS_USER, "sh", "-c", lines], home, out)
    took = time.monotonic() - began
    script = "/src/tests/packaging/roots/inside.py"
    status = run_in(made_in, [*_AS_USER, "python3", script, "/out/report.json"], venv=home, out=out)
    if status:
        raise HarnessError(f"the stream in Debian {suite.codename} ended with {status}")
    report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report | {"installed_s": round(took)}


def faults_of(report: dict[str, Any]) -> list[str]:
    """Return what of a report is not as it has to be, in words."""
    arrived, right = (report["counters"][name] for name in ("frames_complete", "strips_read"))
    return [
        words
        for words, wrong in {
            f"there is {', '.join(report['compilers'])}": report["compilers"],
            f"doctor ended with {report['doctor']}": report["doctor"],
            f"connect ended with {report['connect']}": report["connect"],
            f"{arrived} of {FRAMES} frames arrived": arrived != FRAMES,
            f"{right} of {FRAMES} pictures were right": right != FRAMES,
        }.items()
        if wrong
    ]


def table(found: dict[str, dict[str, Any]]) -> Table:
    """Return the reports as a table."""
    made = Table(box=None, pad_edge=False)
    for column in (
        "Debian",
        "glibc",
        "Python",
        "compiler",
        "installed",
        "doctor",
        "frames",
        "right pictures",
    ):
        made.add_column(column, overflow="fold")
    for name, report in found.items():
        made.add_row(
            name,
            report["glibc"],
            report["python"],
            ", ".join(report["compilers"]) or "none",
            f"{report['installed_s']} s",
            f"exit {report['doctor']}",
            str(report["counters"]["frames_complete"]),
            str(report["counters"]["strips_read"]),
        )
    return made


if __name__ == "__main__":
    sys.exit(main())
