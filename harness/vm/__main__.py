"""``python -m harness.vm``: prove in a virtual machine what this kernel may lack, or run any command there."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from harness.network.pace import VARIABLE
from harness.vm.image import prepare
from harness.vm.machine import run_in_vm
from punktfunk.errors import PunktfunkError
from punktfunk.terminal import say

PROOF = ("-m", "pytest", "-v", "--tb=short", "--color=no", "-p", "pytest_timeout")
PROVEN = {"netem": "tests/net/test_netem.py", "dma-buf": "tests/e2e/test_real_dma_buf.py"}
"""What is run when no command is given: tests of what this machine's kernel may lack."""


def main(arguments: list[str] | None = None) -> int:
    """Prepare the machine, run the command in it and return the command's exit status."""
    parser = argparse.ArgumentParser(prog="python -m harness.vm", description=__doc__)
    parser.add_argument("--timeout", type=float, default=230.0, help="seconds that the machine may run")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--cache", type=Path, help="folder for the kernel (default: the user's cache)")
    parser.add_argument("--prove", choices=PROVEN, default="netem", help="the netem link, or DMA-BUFs")
    parser.add_argument("command", nargs="*", help="run this in place of the tests")
    given = parser.parse_args(arguments)
    begin = time.monotonic()
    try:
        image = prepare(given.cache)
        say(f"vm: image ready after {time.monotonic() - begin:.1f} s")
        status = run_in_vm(
            image,
            given.command or [sys.executable, *PROOF, PROVEN[given.prove]],
            timeout_s=given.timeout,
            processors=given.cpus,
            environment={
                VARIABLE: "1",
                "CI": os.environ.get("CI", ""),
                # Importing what these tests do not use takes an emulated processor half a minute.
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_ADDOPTS": "-p no:cacheprovider",
            },
        )
    except PunktfunkError as error:
        say(error, err=True)
        return error.exit_code
    say(f"vm: status {status} after {time.monotonic() - begin:.1f} s altogether")
    return status


if __name__ == "__main__":
    sys.exit(main())
