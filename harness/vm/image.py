"""What the virtual machine boots: Debian's kernel package as a kernel, a first user space and modules.

Everything lies in a cache folder named after the kernel package and what is taken of it; preparing it takes about 5 s
and 70 MB of download, once.
"""

from __future__ import annotations

import bz2
import contextlib
import fcntl
import gzip
import hashlib
import io
import lzma
import os
import platform
import re
import shutil
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from punktfunk.errors import CapabilityError, HarnessError

_MODULE_FOLDERS = (
    "drivers/virtio",
    "drivers/gpu/drm/drm.ko",
    "drivers/gpu/drm/drm_shmem_helper.ko",
    "drivers/gpu/drm/vgem",
    "net/9p",
    "fs/9p",
    "fs/fscache",
    "fs/netfs",
    "fs/overlayfs",
    "net/sched",
    "drivers/net/veth.ko",
    "drivers/net/tun.ko",
    "drivers/net/ifb.ko",
    "crypto/crc32c_generic.ko",
    "drivers/block/virtio_blk.ko",
    "drivers/input/evdev.ko",
    "drivers/input/ff-memless.ko",
    "drivers/input/joydev.ko",
    "drivers/input/misc/uinput.ko",
    "fs/autofs",
    "fs/ext4",
    "fs/jbd2",
    "fs/mbcache.ko",
    "lib/crc16.ko",
)
"""Below ``lib/modules/VERSION/kernel``: what booting, the link and a machine with a disk and gamepads need, a hundredth
of the package."""

_BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
"""Loaded from the initial RAM disk, before the root file system is there."""

_DISK_MODULES = ("virtio_blk", "crc32c_generic", "ext4")
"""Loaded there too, where the machine has a disk."""


@dataclass(frozen=True)
class Image:
    """Paths of a prepared virtual machine."""

    vmlinux: Path
    """Uncompressed kernel: QEMU boots it by PVH, which saves 5 s of emulated decompression at every start."""
    initrd: Path
    modules: Path
    """Root under which ``lib/modules/VERSION`` lies."""
    busybox: Path


def cache_folder() -> Path:
    """Return the cache folder (``XDG_CACHE_HOME`` or ``~/.cache``)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "punktfunk-lab" / "vm"


def prepare(folder: Path | None = None) -> Image:
    """Make the image, or take the one made earlier.

    Raises :class:`CapabilityError` on a machine that is not amd64 or has no apt archive with Debian's kernel,
    :class:`HarnessError` when a package does not hold what is expected.
    """
    if platform.machine() != "x86_64":
        raise CapabilityError(f"the netem machine is made for x86_64, this is {platform.machine()}")
    package = kernel_package()
    folder = (folder or cache_folder()) / f"{package}-{_state()}"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        image = Image(
            folder / "vmlinux",
            folder / "initrd.gz",
            folder / "kernel",
            folder / "busybox" / "bin" / "busybox",
        )
        done = folder / "complete"
        if done.exists():
            return image
        _unpack(_download("busybox-static", folder), folder / "busybox", lambda name: name == "bin/busybox")
        _unpack(_download(package, folder), image.modules, _wanted)
        [kernel] = (image.modules / "boot").glob("vmlinuz-*")
        image.vmlinux.write_bytes(extract_vmlinux(kernel.read_bytes()))
        version = kernel.name.removeprefix("vmlinuz-")
        _run([str(image.busybox), "depmod", "-b", str(image.modules), version])
        image.initrd.write_bytes(_initrd(image, image.modules / "lib" / "modules" / version))
        done.touch()
        return image


def kernel_package() -> str:
    """Return the package that ``linux-image-amd64`` stands for now, e.g. ``linux-image-6.1.0-56-amd64``."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise CapabilityError(
            "the netem machine takes its kernel from Debian's archive and there is no apt here",
            "run it on Debian or Ubuntu, or use a kernel with sch_netem directly",
        )
    text = _run(["apt-cache", "depends", "linux-image-amd64"])
    found = re.search(r"Depends: (linux-image-[0-9][^\s<>]*amd64)\s", text)
    if found is None:
        raise CapabilityError("apt knows no kernel package linux-image-amd64", "apt-get update")
    return found[1]


def extract_vmlinux(image: bytes) -> bytes:
    """Return the ELF kernel inside a bzImage.

    The setup header gives the payload's place (Linux documentation, x86 boot protocol: ``setup_sects`` at
    0x1f1, ``payload_offset`` and ``payload_length`` at 0x248). Raises :class:`HarnessError` when there is
    none.
    """
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[(setup_sectors + 1) * 512 + offset :][:length]
    if payload.startswith(b"\xfd7zXZ\0"):
        elf = lzma.LZMADecompressor().decompress(payload)
    elif payload.startswith(b"\x1f\x8b"):
        elf = zlib.decompressobj(31).decompress(payload)
    elif payload.startswith(b"BZh"):
        elf = bz2.BZ2Decompressor().decompress(payload)
    elif payload.startswith(b"\x28\xb5\x2f\xfd"):
        elf = _run_bytes(["zstd", "-dcq"], payload)
    else:
        raise HarnessError(f"the kernel is compressed in an unknown way ({payload[:6].hex()})")
    if not elf.startswith(b"\x7fELF"):
        raise HarnessError("the kernel package holds no ELF kernel")
    return elf


def boot_order(dependencies: str, wanted: tuple[str, ...] = _BOOT_MODULES) -> list[str]:
    """Return paths of modules in an order in which each one's dependencies come before it.

    ``dependencies`` is the text of ``modules.dep``: ``path: path path …``, the direct and indirect needs of
    each.
    """
    needs: dict[str, list[str]] = {}
    for line in dependencies.splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
    by_name = {Path(path).name.partition(".")[0].replace("-", "_"): path for path in needs}
    order: list[str] = []

    def add(path: str) -> None:
        for need in reversed(needs[path]):
            add(need)
        if path not in order:
            order.append(path)

    for name in wanted:
        if name in by_name:  # built into the kernel otherwise
            add(by_name[name])
    return order


def cpio(entries: list[tuple[str, int, bytes]]) -> bytes:
    """Return a ``newc`` cpio archive of (name, mode, content) entries: the kernel's format for RAM disks."""
    out = io.BytesIO()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0")
        out.write(bytes(-out.tell() % 4) + content)
        out.write(bytes(-out.tell() % 4))
    return out.getvalue()


def _initrd(image: Image, modules: Path) -> bytes:
    entries = [
        (name, 0o040755, b"") for name in ("bin", "mods", "disk", "proc", "sys", "dev", "ro", "rw", "new")
    ]
    entries.append(("bin/busybox", 0o100755, image.busybox.read_bytes()))
    dependencies = (modules / "modules.dep").read_text(encoding="ascii")
    order = boot_order(dependencies)
    disk = [path for path in boot_order(dependencies, _DISK_MODULES) if path not in order]
    entries += [
        (f"{into}/{place:02d}-{Path(path).name}", 0o100644, (modules / path).read_bytes())
        for into, paths in (("mods", order), ("disk", disk))
        for place, path in enumerate(paths)
    ]
    entries.append(("init", 0o100755, _script()))
    return gzip.compress(cpio(entries), 1, mtime=0)


def _script() -> bytes:
    return (resources.files(__package__) / "initrd.sh").read_bytes()


def _state() -> str:
    """Return what an image is known by beside its kernel: what is taken of it, and the first user space."""
    what = repr((_MODULE_FOLDERS, _BOOT_MODULES, _DISK_MODULES)).encode() + _script()
    return hashlib.sha256(what).hexdigest()[:12]


def _wanted(name: str) -> bool:
    if name.startswith("boot/vmlinuz-") or re.fullmatch(r"lib/modules/[^/]+/modules\.\w+(\.\w+)*", name):
        return True
    inside = re.match(r"lib/modules/[^/]+/kernel/(.*)", name)
    return inside is not None and any(
        inside[1] == folder or inside[1].startswith(f"{folder}/") for folder in _MODULE_FOLDERS
    )


def _download(package: str, folder: Path) -> Path:
    # apt checks the package against the archive's signed index.
    _run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=", package], cwd=folder)
    [deb] = folder.glob(f"{package}_*.deb")
    return deb


def _unpack(deb: Path, to: Path, wanted: object) -> None:
    assert callable(wanted)
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as source,
        tarfile.open(fileobj=source.stdout, mode="r|") as archive,
    ):
        for member in archive:
            name = member.name.removeprefix("./")
            if not member.isfile() or not wanted(name):
                continue
            content = archive.extractfile(member)
            assert content is not None
            target = to / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())
            target.chmod(member.mode & 0o777)
    if source.returncode:
        raise HarnessError(f"{deb.name} cannot be unpacked")
    deb.unlink()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _run(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "LC_ALL": "C"},
    )
    if done.returncode:
        words = " ".join(done.stderr.split())[-300:]
        raise CapabilityError(f"{' '.join(command[:3])} failed: {words}", "apt-get update")
    return done.stdout


def _run_bytes(command: list[str], data: bytes) -> bytes:
    try:
        return subprocess.run(command, input=data, check=True, capture_output=True, timeout=60).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise CapabilityError(
            f"{command[0]} cannot unpack the kernel: {error}", f"install {command[0]}"
        ) from error
