"""Run a command in the virtual machine and return its exit status."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from harness.vm.image import Image
from punktfunk.errors import CapabilityError, HarnessError

_QEMU = "qemu-system-x86_64"

_CPU = "max,-erms,-fsrm"
"""With ERMS or FSRM the kernel copies by ``rep movsb``, which emulation runs byte by byte: 5 times slower."""

_KERNEL_WORDS = (
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on tsc=reliable no_timer_check"
)
"""``panic=-1`` with ``-no-reboot``: a panic ends QEMU at once."""


def run_in_vm(
    image: Image,
    command: Sequence[str],
    *,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    processors: int = 2,
    memory_mib: int = 2048,
    output: TextIO | None = None,
) -> int:
    """Run ``command`` in a fresh machine as root in ``cwd`` and return its exit status.

    What it prints is copied to ``output`` (default: standard output) line by line. Raises
    :class:`CapabilityError` without QEMU, :class:`HarnessError` when the machine dies or ``timeout_s``
    passes.
    """
    qemu = shutil.which(_QEMU)
    if qemu is None:
        raise CapabilityError(f"{_QEMU} is not installed", "apt-get install qemu-system-x86")
    guest = Path(__file__).with_name("guest.sh")
    with tempfile.TemporaryDirectory(prefix="punktfunk-vm-") as share:
        exported = "".join(f"export {k}={shlex.quote(v)}\n" for k, v in (environment or {}).items())
        Path(share, "command").write_text(f"{exported}exec {shlex.join(command)}\n", encoding="utf-8")
        words = [
            _KERNEL_WORDS,
            f"VM_GUEST={guest}",
            f"VM_BUSYBOX={image.busybox}",
            f"VM_MODULES={image.modules}",
            f"VM_CWD={cwd or Path.cwd()}",
        ]
        if any(" " in word.partition("=")[2] for word in words[1:]):
            raise CapabilityError(
                "a path with a blank cannot be handed to the machine's kernel", "move the repository"
            )
        process = subprocess.Popen(
            [
                qemu, "-M", "q35", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", _CPU,
                "-smp", str(processors), "-m", str(memory_mib),
                "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot",
                "-serial", "stdio",
                "-kernel", str(image.vmlinux), "-initrd", str(image.initrd), "-append", " ".join(words),
                "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
                "-device", "virtio-9p-pci,fsdev=root,mount_tag=hostroot",
                "-fsdev", f"local,id=out,path={share},security_model=none,multidevs=remap",
                "-device", "virtio-9p-pci,fsdev=out,mount_tag=out",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )  # fmt: skip
        copier = threading.Thread(target=_copy, args=(process, output or sys.stdout), daemon=True)
        copier.start()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise HarnessError(f"the machine did not end within {timeout_s:.0f} s") from error
        finally:
            process.kill()
            process.wait()
            copier.join(5)
        try:
            return int(Path(share, "status").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError) as error:
            raise HarnessError(
                f"the machine died before its command ended (QEMU's status {process.returncode})"
            ) from error


def _copy(process: subprocess.Popen[str], output: TextIO) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            output.write(line.replace("\r", ""))
            output.flush()
