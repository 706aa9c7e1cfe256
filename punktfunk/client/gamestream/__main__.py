"""``python -m punktfunk.client.gamestream --config client.json``: a headless client for the harness and for tests."""

from __future__ import annotations

import sys

from punktfunk.client.gamestream.config import GameStreamConfig
from punktfunk.client.gamestream.json_lines import run_client
from punktfunk.process.program import run_program

if __name__ == "__main__":
    program = run_program("punktfunk.client.gamestream", GameStreamConfig, run_client)
    sys.exit(program)
