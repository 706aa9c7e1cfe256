"""What our figures stand beside, by name and version."""

from __future__ import annotations

import contextlib
import tomllib
from importlib import metadata

from tests.bench.table.targets import CORE


def versions() -> dict[str, str]:
    """Return rivals by name with the versions that are locked or installed here."""
    locked = tomllib.loads((CORE / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    of = {package["name"]: package["version"] for package in locked}
    crate = "reed-solomon-erasure"
    known = {
        "reed-solomon-simd": f"reed-solomon-simd {of['reed-solomon-simd']}",
        f"parity of {crate} alone": f"the parity of {crate} {of[crate]} alone",
    }
    with contextlib.suppress(metadata.PackageNotFoundError):  # then there is no row beside it either
        known["ISA-L"] = f"ISA-L of pyeclib {metadata.version('pyeclib')}"
    return known
