"""Make a build: packages, compiled core, and an environment of its own that finds nothing else of this project."""

from __future__ import annotations

import json
import shutil
import time
import venv
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.builds import core, dependencies
from harness.builds.cache import Cache
from harness.builds.origin import MAX_WHEEL_BYTES, Kind, Origin, is_source, sources
from harness.builds.repository import Repository
from punktfunk.errors import BuildError, BuildTooOldError, PunktfunkError
from punktfunk.printable import printable

_DRIVABLE: Final = ("harness/run/case.py", "harness/session.py")
"""Where a harness runs a case, now and before it had rooms: see ``driver``."""
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of the others Python unpacks each piece whole, however much a piece of a bomb makes."""
_MAX_METADATA_BYTES: Final = 1 << 20
"""Of a wheel's METADATA, which is read into memory; ours has 8 kB."""
_FORM: Final = "2"
"""Of an entry of the cache; another one is made again."""


@dataclass(frozen=True, slots=True)
class Build:
    """A build that can run."""

    origin: Origin
    python: Path
    """Its interpreter: whatever it imports of this project is the build's own."""
    core: str
    """Digest of its compiled core."""


def make(origin: Origin, cache: Cache, note: Callable[[str], None]) -> Build:
    """Return the build of an origin, made now or kept from before; ``note`` is told what takes its time.

    Raises BuildError, its BuildTooOldError for what cannot take part, and CapabilityError for what this machine lacks.
    """
    place = cache.entry("builds", f"{origin.kind}-{origin.key[:40]}")
    began = time.monotonic()
    with cache.lock():
        kept = _kept(place, origin)
        if kept is not None:
            return kept
        try:
            with cache.making("builds", place.name) as new:
                _make(origin, new, place, cache, note)
        except PunktfunkError as error:
            raise type(error)(f"{origin.title}: {error.cause}", error.hint) from error
        cache.forget()
    build = _kept(place, origin)
    if build is None:
        raise BuildError(
            f"{origin.title}: it was made, and is not in {place}",
            "another program removes what is kept there",
        )
    note(f"ready after {time.monotonic() - began:.0f} s")
    return build


def _kept(place: Path, origin: Origin) -> Build | None:
    try:
        said = json.loads((place / "build.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    python = place / "env" / "bin" / "python"
    # What it needs may lie in this environment, which may have gone.
    whole = python.exists() and all(Path(path).is_dir() for path in said.get("packages", ()))
    if said.get("form") != _FORM or not whole:
        return None
    return Build(origin, python, said["core"])


def _make(origin: Origin, new: Path, place: Path, cache: Cache, note: Callable[[str], None]) -> None:
    source = new / "source"
    source.mkdir()
    if origin.kind is Kind.WHEEL:
        needs = _unpack(origin.path, source)
        module = source / core.FOLDER / core.MODULE
    else:
        if origin.kind is Kind.REVISION:
            Repository(origin.path).export(origin.key, is_source, source)
        else:
            for path in sources(origin.path):
                (source / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(origin.path / path, source / path)
        _require_harness(source)
        needs = dependencies.of_source(source)
        module = core.compiled(source, cache, note)
        shutil.copyfile(module, source / core.FOLDER / core.MODULE)
    packages = dependencies.folders(needs, cache, note)
    environment = new / "env"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(environment)
    # Folders in a .pth file come after the environment's own, and their .pth files are not read: an installation of
    # this project beside the dependencies that is editable is not seen, and one that is not comes last.
    (site,) = dependencies.packages_of(environment)[:1]
    lines = [str(place / "source"), *packages]
    (Path(site) / "punktfunk-build.pth").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    digest = module.parent.name if origin.kind is not Kind.WHEEL else ""
    said = {"form": _FORM, "title": origin.title, "core": digest, "packages": packages}
    (new / "build.json").write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _unpack(wheel: Path, to: Path) -> dependencies.Needs:
    try:
        with zipfile.ZipFile(wheel) as files:
            if sum(member.file_size for member in files.infolist()) > 4 * MAX_WHEEL_BYTES:
                raise BuildError(f"it unpacks to more than {4 * MAX_WHEEL_BYTES >> 20} MiB")
            odd = [member.filename for member in files.infolist() if member.compress_type not in _METHODS]
            if odd:
                raise BuildError(f"{printable(odd[0], 100)} is compressed by a method that no wheel has")
            names = files.namelist()
            said = [name for name in names if name.endswith(".dist-info/METADATA")]
            if str(core.FOLDER / core.MODULE) not in names or len(said) != 1:
                raise BuildError("it is no wheel of punktfunk", "nox -s dist makes one")
            files.extractall(to)
            _require_harness(to)
            return dependencies.of_wheel(_content(files, files.getinfo(said[0])))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
        raise BuildError(f"it cannot be unpacked: {error}") from error


def _content(files: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.file_size > _MAX_METADATA_BYTES:
        raise BuildError(f"its METADATA has {member.file_size} bytes, more than {_MAX_METADATA_BYTES}")
    with files.open(member) as packed:
        # All of it at once would be unpacked before it is cut to the length that the member says it has.
        return packed.read(member.file_size)


def _require_harness(source: Path) -> None:
    if not any((source / path).is_file() for path in _DRIVABLE):
        raise BuildTooOldError(
            "its harness cannot run a case by itself, so it cannot take part",
            "the first revision that can has harness/session.py",
        )
