"""The ``punktfunk-lab`` program, also as ``python -m harness``."""

from __future__ import annotations

import sys

from punktfunk.process import loading


def main() -> int:
    """Run the program; return its exit code."""
    loading.begin()
    from harness.cli import main as run

    return run()


if __name__ == "__main__":  # spawned workers import this module, too
    sys.exit(main())
