"""``LICENSE-THIRD-PARTY``: the licences of what is compiled into the module, each text once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.packaging.release.crates import Crate

PAGE: Final = Path("LICENSE-THIRD-PARTY")
_RULE: Final = "-" * 80
_HEAD: Final = """\
Third-party software in punktfunk's protocol core

punktfunk/core/_core.abi3.so is compiled from the crates below, besides its own. Of alternatives, MIT is taken; the
text of each licence stands here once, with the crates that it covers. Written by `nox -s docs`; do not edit.

Rust's standard library is compiled in as well: MIT OR Apache-2.0, taken under Apache-2.0, whose text is LICENSE-APACHE
beside punktfunk's own. What that library contains in turn is listed in rust-standard-library.html of a release.
"""


def text(crates: Iterable[Crate]) -> str:
    """Return the page for these crates; our own are left out, their licences stand at the top of the repository."""
    covers: dict[str, tuple[str, list[str]]] = {}
    for crate in crates:
        for file, licence in [] if crate.ours else crate.texts().items():
            whole = "\n".join(line.rstrip() for line in licence.strip().splitlines())
            _, names = covers.setdefault(" ".join(whole.split()), (whole, []))
            names.append(f"{crate.name} {crate.version} ({crate.licence}): {file}")
    parts = [_HEAD]
    for whole, names in covers.values():
        parts.append("\n".join([_RULE, *names, _RULE, "", whole, ""]))
    return "\n".join(parts)
