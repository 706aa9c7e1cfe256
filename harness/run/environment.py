"""What machine and what software a run was made with: results without it cannot be compared."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("punktfunk", "aioquic", "av", "cryptography", "numpy", "pyroute2", "scipy")
"""Distributions whose version can move a figure."""


@lru_cache(maxsize=1)
def describe() -> dict[str, Any]:
    """Return the environment as plain data; what cannot be found out is absent."""
    cpu, cores, kernel = cpu_model(), usable_cores(), platform.release()
    found: dict[str, Any] = {
        "machine_class": machine_class(cpu, cores, kernel),
        "cpu": cpu,
        "cores": cores,
        "memory_mib": _memory_mib(),
        "kernel": kernel,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "distribution": _os_release(),
        "git": git_revision(),
        "fec_kernel": _fec_kernel(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "ci": os.environ.get("CI", "").lower() in {"1", "true"},
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def machine_class(cpu: str, cores: int, kernel: str) -> str:
    """Return the name under which baselines of comparable machines are kept.

    Wall-clock figures of different processors, core counts or kernel series say nothing about each other;
    patch levels and clock speeds in a model's name are left out.
    """
    model = re.sub(r"@.*|\(R\)|\(TM\)|\bCPU\b|\bProcessor\b", " ", cpu, flags=re.IGNORECASE)
    series = ".".join(kernel.split(".")[:2])
    text = f"{platform.machine()}-{model}-{cores}c-linux{series}-py{sys.version_info.major}.{sys.version_info.minor}"
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def cpu_model() -> str:
    """Return the processor's name as the kernel gives it, with family and model where the name is generic."""
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
            key, colon, value = line.partition(":")
            if colon:
                fields.setdefault(key.strip(), value.strip())
            elif fields:
                break
    except OSError:
        return platform.processor() or platform.machine()
    name = fields.get("model name") or fields.get("Model") or platform.machine()
    # A guest is often told no more than "Intel Xeon Processor": the model number tells its kind.
    if not re.search(r"\d", name) and "model" in fields:
        name += f" family {fields.get('cpu family', '?')} model {fields['model']}"
    return name


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def git_revision() -> str:
    """Return the commit that the harness runs from, ``+`` for changes on top; "" outside a repository."""
    root = Path(__file__).resolve().parents[2]
    try:
        revision = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return revision + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=5, check=True
    )
    return done.stdout.strip()


def _memory_mib() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    match = re.search(r"MemTotal:\s+(\d+) kB", text)
    return int(match[1]) // 1024 if match else None


def _os_release() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _fec_kernel() -> str:
    try:
        from punktfunk.core import _core

        return _core.fec_kernel()
    except (ImportError, AttributeError):  # not built, or of another version: doctor says so
        return ""
