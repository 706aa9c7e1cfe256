"""The crates that are compiled into the module, with their licences, as cargo resolves them."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from punktfunk.errors import CapabilityError, HarnessError
from tests.support.wheel import ROOT

TARGET: Final = "x86_64-unknown-linux-gnu"
"""The platform of the wheel that is released; another one has other crates."""
MANIFEST: Final = Path("punktfunk") / "core" / "Cargo.toml"
_MODULE: Final = "punktfunk-core-python"
_NAMED: Final = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE")


@dataclass(frozen=True, slots=True)
class Crate:
    """A crate of the module."""

    name: str
    version: str
    licence: str
    """Its SPDX expression."""
    folder: Path
    """Where its sources lie on this machine."""
    sha256: str
    """Of its file in the registry; "" for our own."""
    needs: tuple[str, ...]
    """Keys of the crates that it links."""

    @property
    def key(self) -> str:
        """Its name and version, which no other has."""
        return f"{self.name}@{self.version}"

    @property
    def ours(self) -> bool:
        """Return whether it is a member of this workspace."""
        return not self.sha256

    def texts(self) -> dict[str, str]:
        """Return its licence texts by file name: of alternatives MIT's, which names the authors, or else all.

        Raises HarnessError where it comes without any.
        """
        found = {
            path.name: path.read_text(encoding="utf-8")
            for path in sorted(self.folder.iterdir())
            if path.is_file() and path.name.upper().startswith(_NAMED)
        }
        if not found:
            raise HarnessError(f"the crate {self.key} ({self.licence}) comes without the text of its licence")
        chosen = " AND " not in self.licence and "MIT" in self.licence.split(" OR ")
        return {"LICENSE-MIT": found["LICENSE-MIT"]} if chosen and "LICENSE-MIT" in found else found


def compiled_in(manifest: Path = ROOT / MANIFEST, env: Mapping[str, str] | None = None) -> list[Crate]:
    """Return what the module is made of, by name: all that it links, and nothing that runs at build time alone.

    ``env`` is put over this process's environment for cargo, whose CARGO_HOME decides where sources lie.
    Raises CapabilityError without cargo, HarnessError where it fails.
    """
    metadata = _metadata(manifest, env or {})
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    locked = tomllib.loads(manifest.with_name("Cargo.lock").read_text(encoding="utf-8"))["package"]
    sums = {(each["name"], each["version"]): each.get("checksum", "") for each in locked}

    def linked(node: str) -> Iterator[str]:
        for needed in nodes[node]["deps"]:
            normal = any(kind["kind"] is None for kind in needed["dep_kinds"])
            macro = any("proc-macro" in target["kind"] for target in packages[needed["pkg"]]["targets"])
            if normal and not macro:
                yield needed["pkg"]

    (module,) = (identity for identity, package in packages.items() if package["name"] == _MODULE)
    found: dict[str, tuple[str, ...]] = {}
    waiting = [module]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found[node] = tuple(linked(node))
            waiting += found[node]

    def key(node: str) -> str:
        return f"{packages[node]['name']}@{packages[node]['version']}"

    crates = [
        Crate(
            name=packages[node]["name"],
            version=packages[node]["version"],
            licence=packages[node]["license"].replace("/", " OR "),
            folder=Path(packages[node]["manifest_path"]).parent,
            sha256=sums[packages[node]["name"], packages[node]["version"]],
            needs=tuple(sorted(key(each) for each in needs)),
        )
        for node, needs in found.items()
    ]
    return sorted(crates, key=lambda crate: crate.key)


def _metadata(manifest: Path, env: Mapping[str, str]) -> dict[str, Any]:
    command = [
        *("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET),
        *("--manifest-path", str(manifest)),
    ]
    try:
        told = subprocess.run(command, env={**os.environ, **env}, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise CapabilityError("there is no cargo on PATH", "install Rust 1.89 or newer") from error
    except subprocess.CalledProcessError as error:
        raise HarnessError(f"cargo metadata ended with {error.returncode}: {error.stderr.strip()}") from error
    metadata: dict[str, Any] = json.loads(told.stdout)
    return metadata
