"""The measurement harness: scenarios, links, peers, runs, figures and reports.

:func:`load` opens results as pandas DataFrames. Not here: anything that a host or a client needs to stream
(``punktfunk``), and tests (``tests``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from harness.analysis.loading import Results

__all__ = ["load"]


def load(*where: str | PathLike[str], out: str | PathLike[str] = "reports") -> Results:
    """Return the results of runs as DataFrames: ``cases``, ``figures``, ``frames``, ``stages``, ``links``, ``ledger``.

    ``where`` are runs, each by its folder, its name below ``out`` or its ``run.json``, and folders of runs. Nothing is
    read from Parquet before a DataFrame is asked for. Columns, units and dtypes: ``docs/reference/tables.md``.
    Raises :class:`~punktfunk.errors.ResultsError` where there are no results, or those of a later version.
    """
    from harness.analysis import loading  # and pandas with it: no command of the harness waits for that

    return loading.load(*where, out=out)
