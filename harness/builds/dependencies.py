"""What a build needs beside itself: the packages of this environment where it pins the same, else its own."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement

from harness.builds import program
from harness.builds.cache import Cache
from punktfunk.errors import BuildError, BuildTooOldError

EXTRA: Final = "harness"
"""Of the project: what running scenarios wants."""
CONSTRAINTS: Final = Path(".ci") / "constraints.txt"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a build requires, and the versions that it was developed with where it says so."""

    required: tuple[Requirement, ...]
    pinned: dict[str, str]

    def differences(self) -> list[str]:
        """Return what this environment has otherwise: ``numpy 2.4.6, not 2.3.0``; empty where it fits."""
        found = []
        for need in self.required:
            has = _installed(need.name)
            pin = self.pinned.get(_normal(need.name))
            if has is None:
                found.append(f"no {need.name}")
            elif pin is not None and has != pin:
                found.append(f"{need.name} {has}, not {pin}")
            elif not need.specifier.contains(has, prereleases=True):
                found.append(f"{need.name} {has}, not {need.specifier}")
        return found


def of_source(source: Path) -> Needs:
    """Return the needs of a tree of sources, by its pyproject.toml and the locked versions beside it."""
    try:
        project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        listed = [*project.get("dependencies", ()), *project.get("optional-dependencies", {}).get(EXTRA, ())]
    except (OSError, ValueError, KeyError) as error:
        raise BuildTooOldError(f"its pyproject.toml does not say what it needs: {error}") from error
    file = source / CONSTRAINTS
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    pinned = {}
    for requirement in _applying(line.partition("#")[0].strip() for line in lines):
        versions = [clause.version for clause in requirement.specifier if clause.operator == "=="]
        if len(versions) == 1:
            pinned[_normal(requirement.name)] = versions[0]
    return Needs(tuple(_applying(listed)), pinned)


def of_wheel(file: bytes) -> Needs:
    """Return the needs of a wheel, by its METADATA."""
    listed = BytesHeaderParser().parsebytes(file).get_all("Requires-Dist", [])
    return Needs(tuple(_applying(listed)), {})


def folders(needs: Needs, cache: Cache, note: Callable[[str], None]) -> list[str]:
    """Return the folders of packages for a build: of this environment, or of one made for it; hold the cache's lock.

    Raises BuildError with pip's last words.
    """
    differences = needs.differences()
    if not differences:
        return [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    text = "\n".join(
        [sys.version, *sorted(map(str, needs.required)), *sorted(map(str, needs.pinned.items()))]
    )
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    place = cache.entry("dependencies", name)
    if not place.is_dir():
        listed = ", ".join(differences[:3]) + (" …" if len(differences) > 3 else "")
        note(f"installing what it needs, since this environment has {listed} (a minute or two, once)")
        with cache.making("dependencies", name) as new:
            constraints = new / "constraints.txt"
            constraints.write_text("".join(f"{name}=={version}\n" for name, version in needs.pinned.items()))
            venv.EnvBuilder(with_pip=True, symlinks=True).create(new / "env")
            program.run(
                [
                    str(new / "env" / "bin" / "python"),
                    *("-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                    *("-c", str(constraints), *map(_plain, needs.required)),
                ],
                "pip install",
                log=cache.log(f"dependencies-{name}"),
                note=note,
            )
    return packages_of(place / "env")


def packages_of(environment: Path) -> list[str]:
    """Return the folders in which a virtual environment of this Python has its packages."""
    base = {"base": str(environment), "platbase": str(environment)}
    paths = sysconfig.get_paths(scheme="venv", vars=base)
    return list(dict.fromkeys([paths["purelib"], paths["platlib"]]))


def _plain(requirement: Requirement) -> str:
    """Return a requirement without its condition: that it applies here is known, and pip knows no extra of it."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def _applying(lines: Iterable[str]) -> list[Requirement]:
    found = []
    for line in lines:
        if not line:
            continue
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            raise BuildError(f"'{line}' is no requirement: {error}") from error
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", EXTRA)
        ):
            found.append(requirement)
    return found


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
