"""``python -m punktfunk.host --config host.json``: a headless host for the harness and for tests."""

from __future__ import annotations

import sys

from punktfunk.process import loading


def main() -> int:
    """Run the program; return its exit status."""
    loading.begin()
    from punktfunk.host.config import HostConfig
    from punktfunk.host.json_lines import run_host
    from punktfunk.process.program import run_program

    return run_program("punktfunk.host", HostConfig, run_host)


if __name__ == "__main__":
    sys.exit(main())
