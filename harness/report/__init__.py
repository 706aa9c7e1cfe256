"""Reports of a run: one HTML page, Markdown for CI, JUnit for whoever collects tests, flat JSON for programs.

Everything is made from the :class:`~harness.analysis.results.RunResult`, and of a run of very many cases from the table
beside it, so that a report of an old run can be made again by a newer version. Not here: figures (``analysis``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from harness.analysis.results import RunResult
from harness.report import json, junit, markdown
from harness.report.text import is_matrix
from punktfunk.errors import ResultsError


def _html(run: RunResult, *, charts: bool = True, folder: Path | None = None) -> str:
    # Matplotlib takes a second to load, and most commands draw nothing.
    from harness.report import html

    return html.render(run, charts=charts, folder=folder)


def _interop(run: RunResult, folder: Path) -> str:
    from harness.report import interop

    return interop.render(run, folder)


FILES = {
    "html": ("report.html", _html),
    "markdown": ("summary.md", markdown.render),
    "junit": ("junit.xml", junit.render),
    "json": ("figures.json", json.render),
}
"""Kind of report → file name and function from a run to text."""


def write(run: RunResult, folder: Path, *, charts: bool = True) -> dict[str, Path]:
    """Write every kind of report of ``run`` into ``folder`` and return their paths by kind.

    Without ``charts`` the page has none, which spares a small run more than half of its CPU time.
    A run with hosts and clients for axes has the matrix of programs (``interop.html``) as well.
    Each file appears whole or not at all. Raises :class:`ResultsError` when one cannot be written; those
    written before stay.
    """
    written = {}
    files: dict[str, tuple[str, Callable[[RunResult], str]]] = dict(FILES)
    files["html"] = (FILES["html"][0], lambda run: _html(run, charts=charts, folder=folder))
    if is_matrix(run):
        files["interop"] = ("interop.html", lambda run: _interop(run, folder))
    for kind, (name, render) in files.items():
        path = folder / name
        partial = path.with_name(name + ".part")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = render(run)
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):  # the folder may be the trouble; the error below says so
                partial.unlink(missing_ok=True)
            raise ResultsError(
                f"the report {name} could not be written: {error.strerror or error}",
                "check free space and permissions of the report folder; results that were finished are kept",
            ) from error
        written[kind] = path
    return written
