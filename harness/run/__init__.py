"""Runs: which cases in which order, one case over a simulated or live link, its checks and the verdict of the run.

Not here: what the links do (``link``), and what the figures mean (``analysis``).
"""

from __future__ import annotations

INTERRUPTED_EXIT = 130
"""Exit code of a run that was interrupted, as of any program that Ctrl-C ended."""
