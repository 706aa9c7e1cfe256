"""Every file of the repository that is made from code: where it stands and what makes it.

``python -m harness docs`` writes them, ``--check`` only compares; a test holds each against what is committed.
The C header is made by the core's own tests (``punktfunk/core/tests/abi.rs``); ``nox -s docs`` has both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import typer

from harness.docs import (
    cli_page,
    conformance_page,
    host_pages,
    metric_page,
    peer_page,
    scenario_page,
    schema,
    table_page,
)
from punktfunk.errors import UsageError
from punktfunk.mgmt.document import document_text


def pages(root: Path, lab: typer.Typer) -> Mapping[str, Callable[[], str]]:
    """Return what makes each file of the clone ``root``.

    ``lab`` is the harness's own program, which this room must not know.
    """
    return {
        "scenarios/scenario.schema.json": schema.schema_text,
        scenario_page.PAGE: scenario_page.page,
        f"scenarios/peers/{peer_page.SCHEMA_FILE}": peer_page.schema_text,
        peer_page.PAGE: peer_page.page,
        metric_page.PAGE: metric_page.page,
        table_page.PAGE: table_page.page,
        cli_page.PAGE: lambda: cli_page.page(lab),
        conformance_page.PAGE: lambda: conformance_page.page(root),
        "docs/api/openapi.json": document_text,
        host_pages.SETTINGS_PAGE: host_pages.settings_page,
        host_pages.METRICS_PAGE: host_pages.metrics_page,
    }


def stale(root: Path, lab: typer.Typer) -> list[str]:
    """Return the committed files under ``root`` that are not what the code makes now."""
    if not (root / "pyproject.toml").is_file():
        raise UsageError(f"{root} is not a clone of the repository", "run this at the top of a clone")
    return [name for name, make in pages(root, lab).items() if not _same(root / name, make())]


def write(root: Path, lab: typer.Typer) -> list[str]:
    """Write the stale ones anew; returns their names."""
    names = stale(root, lab)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages(root, lab)[name](), encoding="utf-8")
    return names


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
