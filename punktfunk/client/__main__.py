"""``python -m punktfunk.client --config client.json``: a headless client for the harness and for tests."""

from __future__ import annotations

import sys

from punktfunk.client.config import ClientConfig
from punktfunk.client.json_lines import run_client
from punktfunk.process.program import run_program

if __name__ == "__main__":
    program = run_program("punktfunk.client", ClientConfig, run_client)
    sys.exit(program)
