"""The ``punktfunk`` program, also as ``python -m punktfunk``."""

from __future__ import annotations

import signal

from punktfunk.process import loading


def main() -> None:
    """Run the program. Ctrl-C while it loads ends it like any other program: at once, without a traceback."""
    former = signal.signal(signal.SIGINT, signal.SIG_DFL)
    loading.begin()
    from punktfunk.cli import main as run

    signal.signal(signal.SIGINT, former)
    run()


if __name__ == "__main__":
    main()
