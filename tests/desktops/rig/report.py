"""``docs/reference/desktops.md``: the figures of each suite as they were last taken, as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tests.desktops.rig.packages import SUITES, Suite

PAGE: Final = Path("docs") / "reference" / "desktops.md"
FIGURES: Final = Path("tests") / "desktops" / "figures"

_HEAD: Final = """\
# Desktops in figures

Written by `nox -s desktops -- --record` and `nox -s desktops -- --suite testing --record`; do not edit. Each desktop
runs in a root folder of the Debian that is named, without a screen and **without a graphics card**: wlroots renders
with pixman, Mutter and KWin with Mesa's llvmpipe, gamescope with its lavapipe, on the same CPUs that code, send and
decode the stream. These are figures of the rig, for comparing one version of punktfunk with another, and a floor for
machines that people have. KWin's pictures need the test rig's stand-in for a DRM node (`tests/desktops/support/vgem.c`)
here, gamescope's one for `/dev/udmabuf` (`udmabuf.c` beside it); gamescope is in Debian testing alone. Where the host
brings the compositor its CPU share is not told.

| column | what it is |
|---|---|
| fps taken | different pictures of a program that draws as fast as it is asked, taken without coding them |
| our ms, our CPU | what taking one costs us (copy, scale, convert to YUV, Python): CPU ms a picture, % of one CPU |
| age | from the compositor's stamp until the picture is ours, converted |
| fps streamed | different pictures a second that a client on the same machine was sent, which decodes them there |
| compositor | from the program's drawing to the stamp: the compositor's own part, with its share of one CPU |
| coded | from the stamp to the coded picture (p50) |
| complete | from the stamp to the whole access unit at the client |
"""


def write(repository: Path) -> Path:
    """Write the page anew from the figures that are kept, and return it."""
    page = repository / PAGE
    page.write_text(text(repository / FIGURES), encoding="utf-8")
    return page


def keep(repository: Path, suite: str, taken: dict[str, Any], *, whole: bool) -> Path:
    """Keep figures of a suite and return their file; unless it was taken whole, rows that were not taken stay.

    A row that stays says when, where and beside which packages it was taken, where that has changed since.
    """
    path = repository / FIGURES / f"{suite}.json"
    path.parent.mkdir(exist_ok=True)
    if not whole and path.is_file():
        taken = _merged(json.loads(path.read_text(encoding="utf-8")), taken)
    path.write_text(json.dumps(taken, indent=1) + "\n", encoding="utf-8")
    return path


def _merged(before: dict[str, Any], taken: dict[str, Any]) -> dict[str, Any]:
    fresh = {(row["desktop"], row["mode"]): row for row in taken["rows"]}
    then = {name: before[name] for name in ("date", "machine", "packages")}
    note = {} if all(then[name] == taken[name] for name in then) else {"taken": then}
    stay = [
        fresh.pop((row["desktop"], row["mode"]), None) or {**note, **row}  # it may have a note from before
        for row in before["rows"]
    ]
    return {**taken, "rows": [*stay, *fresh.values()]}


def text(figures: Path) -> str:
    """Return the page of the figures in a folder."""
    parts = [_HEAD]
    for suite in SUITES.values():
        path = figures / f"{suite.name}.json"
        if path.is_file():
            parts.append(_suite(suite, json.loads(path.read_text(encoding="utf-8"))))
    return "\n".join(parts)


def _suite(suite: Suite, record: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(record["packages"].items()))
    rows = [
        f"## Debian {suite.codename} (`--suite {suite.name}`)",
        "",
        f"Taken on {record['date']}, {record['machine']}. Packages: {versions}.",
        "",
        "| desktop | mode | fps taken | our ms | our CPU | age p50 | fps streamed "
        "| compositor p50 / p95, CPU | coded p50 | complete p50 / p95 |",
        f"|{'---|' * 10}",
    ]
    for row in record["rows"]:
        share = f", {row['compositor_cpu']} %" if row["compositor_cpu"] >= 0 else ""
        rows.append(
            f"| {row['desktop']} | {row['mode']} | {row['fps']} | {row['our_ms']} | {row['our_cpu']} %"
            f" | {row['picture_ms']} ms | {row['streamed_fps']}"
            f" | {row['compositor_p50_ms']} / {row['compositor_p95_ms']} ms{share} | {row['coded_p50_ms']} ms"
            f" | {row['complete_p50_ms']} / {row['complete_p95_ms']} ms |"
        )
    older: dict[str, list[str]] = {}
    for row in record["rows"]:
        if "taken" in row:
            then = row["taken"]
            packages = ", ".join(
                f"{name} {version}"
                for name, version in sorted(then["packages"].items())
                if record["packages"].get(name) != version
            )
            said = f"{then['date']}, {then['machine']}" + (f", with {packages}" if packages else "")
            older.setdefault(said, []).append(f"{row['desktop']} {row['mode']}")
    if older:
        rows += ["", *(f"Taken on {said}: {', '.join(names)}." for said, names in older.items())]
    return "\n".join([*rows, ""])
