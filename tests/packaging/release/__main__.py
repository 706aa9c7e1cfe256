"""Make the folder of a release in ``dist/``: ``nox -s dist``; ``-- --again`` builds twice and compares."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from punktfunk.errors import CheckFailedError, PunktfunkError
from punktfunk.terminal import say
from tests.packaging.release import build, licences, sbom
from tests.packaging.release.crates import compiled_in
from tests.packaging.release.folder import assemble, sum_of
from tests.support.wheel import ROOT

OUT = ROOT / "dist"
_BUILDING = ROOT / ".nox" / "dist"


def main(arguments: list[str] | None = None) -> int:
    """Build and assemble, or write the committed pages; return the exit status."""
    parser = argparse.ArgumentParser(prog="nox -s dist --", description=__doc__)
    parser.add_argument(
        "--again", action="store_true", help="build it a second time, in other folders, and compare the bytes"
    )
    parser.add_argument(
        "--renew", action="store_true", help=f"only write {licences.PAGE} and {sbom.PAGE} anew (nox -s docs)"
    )
    given = parser.parse_args(arguments)
    try:
        if given.renew:
            for page, text in pages().items():
                (ROOT / page).write_text(text, encoding="utf-8")
        else:
            _release(again=given.again)
    except PunktfunkError as error:
        say(error, err=True)
        return error.exit_code
    return 0


def pages() -> dict[Path, str]:
    """Return the committed pages that are made of the crates, as they should be now."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    crates = compiled_in()
    return {
        licences.PAGE: licences.text(crates),
        sbom.PAGE: sbom.of_wheels(crates, project["version"], project["license"]),
    }


def _release(*, again: bool) -> None:
    began = time.monotonic()
    for line in build.uncommitted():
        say(f"dist: not committed, so not in it: {line}")
    origin = build.origin()
    say(f"dist: building commit {origin.commit} of {origin.made:%Y-%m-%d %H:%M} with Rust {origin.rustc}")
    built = build.build(origin, _BUILDING)
    if again:
        with tempfile.TemporaryDirectory(dir=_BUILDING) as elsewhere:
            compare(built, build.build(origin, Path(elsewhere), _another_home(Path(elsewhere) / "cargo")))
    place = assemble(built.wheel, built.source, OUT, origin, built.tree)
    say(f"dist: {place.relative_to(ROOT)} after {time.monotonic() - began:.0f} s")
    for path in sorted(place.iterdir()):
        say(f"  {sum_of(path)[:16]}…  {path.stat().st_size / 1000:8.1f} kB  {path.name}")


def _another_home(folder: Path) -> Path:
    """Return another place of cargo, with the same sources: what the first build has fetched is not fetched again."""
    known = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    folder.mkdir()
    for kept in known.iterdir():
        if kept.name in {"registry", "config.toml"}:
            (folder / kept.name).symlink_to(kept)
    return folder


def compare(first: build.Built, second: build.Built) -> None:
    """Raise CheckFailedError where two builds of a release differ in a byte."""
    for one, other in ((first.source, second.source), (first.wheel, second.wheel)):
        if one.read_bytes() != other.read_bytes():
            raise CheckFailedError(f"two builds of {one.name} differ: {sum_of(one)} and {sum_of(other)}")
        say(f"dist: a second build gave the same bytes of {one.name}")


if __name__ == "__main__":
    sys.exit(main())
