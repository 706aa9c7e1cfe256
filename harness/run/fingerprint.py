"""Which code would compute a result here: what has to be equal on every machine that takes part in a run."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

import harness
import punktfunk
from punktfunk.core import _core

_PACKAGES: Final = ("punktfunk", "numpy", "pyarrow", "pydantic", "scipy")
"""Distributions that results are computed with, or carried by."""


@cache
def fingerprint() -> dict[str, str]:
    """Return versions and digests by name: of Python, of packages, of the core's module and of our own sources."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: _version(name) for name in _PACKAGES},
        "core": hashlib.sha256(Path(_core.__file__).read_bytes()).hexdigest()[:16],
        "sources": _sources(),
    }


def code_digest() -> str:
    """Return the fingerprint in one word."""
    return hashlib.sha256(repr(sorted(fingerprint().items())).encode()).hexdigest()[:16]


def differences(here: dict[str, str], there: dict[str, str]) -> list[str]:
    """Return what is not the same in two fingerprints, each as ``name: there, not here``."""
    return [
        f"{name} {there.get(name) or 'missing'}, not {here.get(name) or 'missing'}"
        for name in dict.fromkeys([*here, *there])
        if here.get(name) != there.get(name)
    ]


def _sources() -> str:
    found = hashlib.sha256()
    for package in (harness, punktfunk):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            found.update(f"{path.relative_to(root.parent)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
