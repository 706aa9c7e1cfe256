"""Run a virtual machine: with a command in it whose exit status is returned, or until it is off."""

from __future__ import annotations

import itertools
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    guest = Path(__file__).with_name("guest.sh")
    with tempfile.TemporaryDirectory(prefix="punktfunk-vm-") as folder:
        exported = "".join(f"export {k}={shlex.quote(v)}\n" for k, v in (environment or {}).items())
        Path(folder, "command").write_text(f"{exported}exec {shlex.join(command)}\n", encoding="utf-8")
        words = {
            "VM_GUEST": guest,
            "VM_BUSYBOX": image.busybox,
            "VM_MODULES": image.modules,
            "VM_CWD": cwd or Path.cwd(),
        }
        shares = (Share("hostroot", Path("/")), Share("out", Path(folder), writable=True))
        status = boot(
            image,
            words,
            shares,
            timeout_s=timeout_s,
            processors=processors,
            memory_mib=memory_mib,
            output=output,
        )
        try:
            return int(Path(folder, "status").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError) as error:
            raise HarnessError(
                f"the machine died before its command ended (QEMU's status {status})"
            ) from error


@dataclass(frozen=True, slots=True)
class Share:
    """A folder of this machine that the virtual one mounts by its tag (9p)."""

    tag: str
    folder: Path
    writable: bool = False


def boot(
    image: Image,
    words: Mapping[str, object],
    shares: Sequence[Share],
    *,
    timeout_s: float,
    disk: Path | None = None,
    processors: int = 2,
    memory_mib: int = 2048,
    output: TextIO | None = None,
) -> int:
    """Run a machine until it is off and return QEMU's status.

    ``words`` go to the kernel's command line as NAME=value (``initrd.sh`` reads them), ``shares`` are what it can
    mount, that of the tag ``hostroot`` its root; ``disk`` is a file, its /dev/vda. Its console is copied to ``output``
    (default: standard output) line by line. Raises as :func:`run_in_vm`.
    """
    qemu = shutil.which(_QEMU)
    if qemu is None:
        raise CapabilityError(f"{_QEMU} is not installed", "apt-get install qemu-system-x86")
    if any(" " in str(value) for value in words.values()):
        raise CapabilityError(
            "a path with a blank cannot be handed to the machine's kernel", "move the repository"
        )
    line = " ".join([_KERNEL_WORDS, *(f"{name}={value}" for name, value in words.items())])
    process = subprocess.Popen(
        [
            qemu, "-M", "q35", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", _CPU,
            "-smp", str(processors), "-m", str(memory_mib),
            "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot",
            "-serial", "stdio",
            "-kernel", str(image.vmlinux), "-initrd", str(image.initrd), "-append", line,
            *itertools.chain.from_iterable(map(_share_options, shares)),
            *(() if disk is None else ("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe")),
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
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"the machine did not end within {timeout_s:.0f} s") from error
    finally:
        process.kill()
        process.wait()
        copier.join(5)


def _share_options(share: Share) -> tuple[str, ...]:
    how = "" if share.writable else ",readonly=on"
    return (
        *("-fsdev", f"local,id={share.tag},path={share.folder},security_model=none{how},multidevs=remap"),
        *("-device", f"virtio-9p-pci,fsdev={share.tag},mount_tag={share.tag}"),
    )


def _copy(process: subprocess.Popen[str], output: TextIO) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            output.write(line.replace("\r", ""))
            output.flush()
