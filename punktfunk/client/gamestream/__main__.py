"""``python -m punktfunk.client.gamestream --config client.json``: a headless client for the harness and for tests."""

from __future__ import annotations

import sys

from punktfunk.process import loading


def main() -> int:
    """Run the program; return its exit status."""
    loading.begin()
    from punktfunk.client.gamestream.config import GameStreamConfig
    from punktfunk.client.gamestream.json_lines import run_client
    from punktfunk.process.program import run_program

    return run_program("punktfunk.client.gamestream", GameStreamConfig, run_client)


if __name__ == "__main__":
    sys.exit(main())
