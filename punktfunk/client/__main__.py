"""``python -m punktfunk.client --config client.json``: a headless client for the harness and for tests."""

from __future__ import annotations

import sys

from punktfunk.process import loading


def main() -> int:
    """Run the program; return its exit status."""
    loading.begin()
    from punktfunk.client.config import ClientConfig
    from punktfunk.client.json_lines import run_client
    from punktfunk.process.program import run_program

    return run_program("punktfunk.client", ClientConfig, run_client)


if __name__ == "__main__":
    sys.exit(main())
