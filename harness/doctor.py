"""Each capability of this machine: yes or no, who uses it, and the command that fixes it.

Everything is tried, not guessed from version numbers: a TUN is opened, a qdisc is asked for, an encoder is made.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from harness.scenario.link import Backend
from punktfunk import key_log
from punktfunk.findings import Finding, collect, tried
from punktfunk.findings import show as show_findings
from punktfunk.rich_terminal import Console
from punktfunk.terminal import say_json

APT_FILE = Path(__file__).resolve().parent.parent / ".ci" / "apt.txt"
"""The one list of Debian packages that the full test set wants; absent in an installed package."""
PROGRAMS = {
    "iproute2": "tc",
    "qemu-system-x86": "qemu-system-x86_64",
    "util-linux": "unshare",
    "chromium": "chromium",
}
"""Program by which a Debian package is known, where it is not called as the package."""


def examine() -> list[Finding]:
    """Try every capability; a probe that breaks is a missing capability, never a crash."""
    return collect(
        (
            _core,
            _root,
            _namespaces,
            _tun,
            _netem,
            _realtime,
            _encoders,
            _cargo,
            _cores,
            _packages,
            key_log.examine,
        )
    )


def show(console: Console, *, as_json: bool = False) -> int:
    """Print the findings and return the exit code: 4 when something essential is missing, else 0."""
    return show_findings(examine(), console, as_json=as_json)


def show_leftovers(console: Console, *, as_json: bool = False) -> int:
    """Remove what dead runs left, print it, and return 5 when something would not go."""
    from harness.network import leftovers

    removed = leftovers.clean()
    stuck = leftovers.find()
    if as_json:
        say_json({"removed": [asdict(x) for x in removed], "stuck": [asdict(x) for x in stuck]}, indent=2)
    elif not removed and not stuck:
        console.print("nothing is left over")
    for item in [] if as_json else removed:
        console.print(f"removed {item.kind} {item.name} of run {item.run}", markup=False)
    for item in [] if as_json else stuck:
        console.print(f"cannot remove {item.kind} {item.name} of run {item.run}", markup=False)
    return 5 if stuck else 0


def _core() -> Iterator[Finding]:
    try:
        core = importlib.import_module("punktfunk.core._core")
    except ImportError as error:
        fix = "python -m pip install -e . (wants cargo, Rust 1.89 or newer)"
        yield Finding("protocol core", False, "everything", str(error), fix, essential=True)
        return
    kernel = getattr(core, "fec_kernel", lambda: "")()
    yield Finding("protocol core", True, "everything", f"version {core.__version__}, FEC kernel {kernel}")


def _root() -> Iterator[Finding]:
    root = os.geteuid() == 0
    yield Finding("root", root, "tun and netem links, real-time priority", "", "sudo, or a root container")


def _namespaces() -> Iterator[Finding]:
    yield tried("network namespaces", "tun and netem links", "run as root", _make_namespace)


def _tun() -> Iterator[Finding]:
    from harness.run.case import capability

    found = capability(Backend.TUN)
    yield Finding("TUN with segmentation offload", found.ok, "link.backend: tun", found.reason, found.fix)


def _netem() -> Iterator[Finding]:
    from harness.run.case import capability

    found = capability(Backend.NETEM)
    yield Finding("sch_netem", found.ok, "link.backend: netem", found.reason, found.fix or "nox -s netem-vm")


def _realtime() -> Iterator[Finding]:
    def try_it() -> None:
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, *before)

    yield tried("SCHED_FIFO", "departure times of the tun link", "run as root, or ulimit -r 1", try_it)


def _encoders() -> Iterator[Finding]:
    from punktfunk.media import available_encoders

    for check in available_encoders():
        fix = "python -m pip install --upgrade av"
        yield Finding(
            f"encoder {check.name}", check.available, f"media.codec: {check.codec}", check.reason, fix
        )


def _cargo() -> Iterator[Finding]:
    path = shutil.which("cargo")
    yield Finding(
        "cargo",
        path is not None,
        "building the core, nox -s rust",
        "",
        "https://rustup.rs, Rust 1.89 or newer",
    )


def _cores() -> Iterator[Finding]:
    count = len(os.sched_getaffinity(0))
    detail = f"{count} of {os.cpu_count()}, {platform.machine()}"
    yield Finding(
        "two or more cores", count >= 2, "figures of live links", detail, "lend the machine more cores"
    )


def _packages() -> Iterator[Finding]:
    """Look for the programs of the Debian packages that .ci/apt.txt lists, by the comment that says who uses each."""
    if not APT_FILE.is_file():
        return
    for line in APT_FILE.read_text(encoding="utf-8").splitlines():
        match = re.match(r"([a-z0-9][a-z0-9.+-]+)\s*(?:#\s*(.*))?$", line)
        if match:
            package, use = match[1], match[2] or "tests"
            program = PROGRAMS.get(package, package)
            path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
            yield Finding(program, path is not None, use, "", f"apt-get install {package}")


def _make_namespace() -> None:
    from harness.network.topology import Topology

    with Topology("doctor") as made:
        made.namespace("probe")
