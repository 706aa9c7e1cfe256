"""``python -m punktfunk.host --config host.json``: a headless host for the harness and for tests."""

from __future__ import annotations

import sys

from punktfunk.host.config import HostConfig
from punktfunk.host.json_lines import run_host
from punktfunk.process.program import run_program

if __name__ == "__main__":
    sys.exit(run_program("punktfunk.host", HostConfig, run_host))
