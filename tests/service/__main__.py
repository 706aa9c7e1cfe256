"""``python -m tests.service``: prove the service in a virtual machine that runs systemd, over two boots of it."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from harness.vm.image import Image
from harness.vm.image import prepare as prepare_image
from harness.vm.machine import Share, boot
from punktfunk.errors import CapabilityError, HarnessError, PunktfunkError
from punktfunk.rich_terminal import Console
from punktfunk.terminal import say
from tests.desktops.rig import environment, root
from tests.service.packages import SUITE

_REPOSITORY: Final = Path(__file__).parents[2]
_DISK_BYTES: Final = 1 << 30
"""Of a sparse file: what the machine writes, from one boot to the next."""
_BOOT_LIMIT_S: Final = 280.0
_WIDTH: Final = 160
_UNIT: Final = """\
[Unit]
Description=the steps of tests/service/guest.py
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /guest/guest.py {boot}
StandardOutput=journal+console
StandardError=journal+console
"""


def main() -> int:
    """Run both boots and print a table of their steps; 1 where a step failed."""
    began = time.monotonic()
    folder = _REPOSITORY / ".nox" / "service"
    out = _REPOSITORY / "reports" / "service"
    for made in (folder, out):
        made.mkdir(parents=True, exist_ok=True)
    try:
        image = prepare_image()
        debian = root.prepare(SUITE)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            venv = environment.prepare(debian, folder, extras=("desktop", "gamepad"), beside=())
            say(f"service: image, root and environment are there after {time.monotonic() - began:.0f} s")
            steps = _boots(image, debian, venv, out)
    except PunktfunkError as error:
        say(error, err=True)
        return error.exit_code
    _show(steps)
    passed = all(step["ok"] for step in steps)
    say(f"service: {'passed' if passed else 'failed'} after {time.monotonic() - began:.0f} s altogether")
    return 0 if passed else 1


def _boots(image: Image, debian: Path, venv: Path, out: Path) -> list[dict[str, Any]]:
    """Boot twice on one disk and return the steps of both, up to the first that failed."""
    steps: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="punktfunk-service-") as name:
        folder = Path(name)
        disk = _disk(folder)
        for number in (1, 2):
            (out / "steps").write_text("")
            words = {
                "VM_INIT": "/lib/systemd/systemd",
                "VM_DISK": "/dev/vda",
                "VM_SETUP": "/setup",
                "VM_SHARES": "setup:/setup,guest:/guest,venv:/venv,modules:/modules,out:/out",
                "systemd.show_status": "no",
                "systemd.mask": "serial-getty@ttyS0.service",
            }
            shares = (
                Share("hostroot", debian),
                Share("setup", _setup(folder, number)),
                Share("guest", Path(__file__).parent),
                Share("venv", venv),
                Share("modules", image.modules / "lib" / "modules"),
                Share("out", out, writable=True),
            )
            began = time.monotonic()
            with (out / f"console-{number}").open("w") as console:
                boot(image, words, shares, disk=disk, timeout_s=_BOOT_LIMIT_S, output=console)
            said = [json.loads(line) for line in (out / "steps").read_text().splitlines()]
            done = [step for step in said if "title" in step]
            # What the steps have not taken of a boot is the kernel, systemd and the way down.
            spent = time.monotonic() - began - sum(step["seconds"] for step in done)
            machine = f"boot {number}: kernel, systemd, power off"
            steps += [{"title": machine, "seconds": round(spent, 1), "ok": bool(done), "said": ""}, *done]
            if said[-1:] != [{"done": str(number)}]:
                if all(step["ok"] for step in steps):
                    raise HarnessError(
                        f"the machine went off amid its steps: see {out / f'console-{number}'}"
                    )
                break
    return steps


def _disk(folder: Path) -> Path:
    """Return an empty file system of its own for the machine."""
    disk = folder / "disk"
    with disk.open("wb") as file:
        file.truncate(_DISK_BYTES)
    try:
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-F", str(disk)], check=True, capture_output=True)
    except FileNotFoundError as error:
        raise CapabilityError("mke2fs is not installed", "apt-get install e2fsprogs") from error
    return disk


def _setup(folder: Path, number: int) -> Path:
    """Return what is laid over the root for a boot: the unit that runs its steps, and a journal that lasts."""
    setup = folder / f"setup-{number}"
    units = setup / "etc" / "systemd" / "system"
    (units / "multi-user.target.wants").mkdir(parents=True)
    (units / "steps.service").write_text(_UNIT.format(boot=number))
    (units / "multi-user.target.wants" / "steps.service").symlink_to("../steps.service")
    (setup / "var" / "log" / "journal").mkdir(parents=True)
    return setup


def _show(steps: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for column, justify in (("step", "left"), ("seconds", "right"), ("", "left"), ("what was seen", "left")):
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for step in steps:
        mark = "[green]ok[/]" if step["ok"] else "[red]FAILED[/]"
        table.add_row(step["title"], f"{step['seconds']:.1f}", mark, step["said"].replace("[", r"\["))
    Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH).print(table)


if __name__ == "__main__":
    sys.exit(main())
