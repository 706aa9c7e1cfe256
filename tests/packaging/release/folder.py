"""The folder of a release: what it holds, how a person installs from it, and the sums of its files."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from packaging.metadata import Metadata
from packaging.utils import parse_wheel_filename

from punktfunk.errors import HarnessError
from tests.packaging.release import licences, sbom
from tests.packaging.release.crates import MANIFEST, compiled_in
from tests.support.wheel import ROOT

INSTALL: Final = (
    "python3 -m venv ~/.local/punktfunk"
    ' && ~/.local/punktfunk/bin/pip install "$(ls punktfunk-*.whl)[desktop,present,gamepad]"'
)
"""The line that installs, given in a release: README and INSTALL have it, the proof in bare roots runs it."""
SUMS: Final = "SHA256SUMS"
_TEXT: Final = """\
punktfunk {version}

In this folder, on Linux ({machine}) with glibc {glibc} or newer and Python {python}, such as Debian 12 and 13
(there and on Ubuntu: apt-get install python3-venv):

    sha256sum -c {sums}
    {install}
    ~/.local/punktfunk/bin/punktfunk doctor

The second line downloads the packages that punktfunk needs; nothing is compiled. With -c constraints.txt behind
"install", pip takes the versions that this release was tested with. Leave out extras that you do not need: "desktop"
(to stream a Wayland desktop), "present" (a client's window), "gamepad" (gamepads of clients); "nvenc" and "harness"
are there too. Remove ~/.local/punktfunk to uninstall; settings and paired clients are in ~/.config/punktfunk.

{wheel}
    the program, and its library
{source}
    its source, for other machines: pip install "$(ls punktfunk-*.tar.gz)[desktop]" wants Rust 1.89
{bill}
    what is inside, as CycloneDX; the wheel has its own in *.dist-info/sboms
LICENSE-MIT, LICENSE-APACHE
    punktfunk's own licence, at your choice
LICENSE-THIRD-PARTY, rust-standard-library.html
    of what is compiled into the wheel
constraints.txt
    the versions that this release was tested with

Made of commit {commit}.
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a release comes from."""

    commit: str
    made: datetime
    """When it was committed, which is what a release says of its time."""
    rustc: str
    """The version of the compiler, such as 1.95.0."""
    standard_library: Path
    """What that compiler says of the licences in its standard library."""


def metadata_of(wheel: Path) -> Metadata:
    """Return what a wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Metadata.from_email(archive.read(name))


def assemble(wheel: Path, source: Path, out: Path, origin: Origin, tree: Path = ROOT) -> Path:
    """Make the folder ``punktfunk-VERSION`` in ``out``, whole or not at all, and return it.

    ``tree`` is what wheel and source archive were made of: licences and locked versions are taken from there. Raises
    HarnessError for a wheel that belongs in no release: for one machine alone, or without the licences and the bill
    of what is compiled in.
    """
    metadata = metadata_of(wheel)
    version = str(metadata.version)
    glibc, machine = _released_platform(wheel, version, tree)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".release-") as building:
        folder = Path(building) / f"punktfunk-{version}"
        folder.mkdir()
        for file in (
            wheel,
            source,
            *(tree / name for name in ("LICENSE-MIT", "LICENSE-APACHE", licences.PAGE)),
        ):
            shutil.copyfile(file, folder / file.name)
        shutil.copyfile(tree / ".ci" / "constraints.txt", folder / "constraints.txt")
        shutil.copyfile(origin.standard_library, folder / "rust-standard-library.html")
        bill = folder / f"punktfunk-{version}.cdx.json"
        bill.write_text(
            sbom.of_release(
                compiled_in(tree / MANIFEST),
                metadata,
                (wheel, source),
                rustc=origin.rustc,
                made=origin.made,
            ),
            encoding="utf-8",
        )
        text = _TEXT.format(
            version=version, glibc=glibc, machine=machine, python=metadata.requires_python, sums=SUMS, install=INSTALL,
            wheel=wheel.name, source=source.name, bill=bill.name, commit=origin.commit,
        )  # fmt: skip
        (folder / "INSTALL").write_text(text, encoding="utf-8")
        sums = [f"{sum_of(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
        (folder / SUMS).write_text("".join(sums), encoding="utf-8")
        place = out / folder.name
        shutil.rmtree(place, ignore_errors=True)
        folder.rename(place)
    return place


def _released_platform(wheel: Path, version: str, tree: Path) -> tuple[str, str]:
    """Return the glibc and the machine of a wheel that may be released. Raises HarnessError for another."""
    platforms = ", ".join(sorted(tag.platform for tag in parse_wheel_filename(wheel.name)[3]))
    named = re.fullmatch(r"manylinux_(\d+)_(\d+)_(\w+)", platforms)
    if named is None:
        raise HarnessError(f"{wheel.name} is a wheel for {platforms} and not for every Linux of a kind")
    with zipfile.ZipFile(wheel) as archive:
        for page, folder in ((licences.PAGE, "licenses"), (sbom.PAGE, "sboms")):
            name = f"punktfunk-{version}.dist-info/{folder}/{page.name}"
            if name not in archive.namelist() or archive.read(name) != (tree / page).read_bytes():
                raise HarnessError(
                    f"{wheel.name} lacks {name} as {page} is", "nox -s docs, commit, build again"
                )
    return f"{named[1]}.{named[2]}", named[3]


def sum_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
