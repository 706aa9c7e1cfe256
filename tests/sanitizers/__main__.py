"""Watch tests of kernels, C ABI and sockets by AddressSanitizer, memcheck: ``python -m tests.sanitizers [TOOL]``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Final

from tests.sanitizers import address, memcheck
from tests.sanitizers.programs import Tool

TOOLS: Final[dict[str, Callable[[], Tool]]] = {"address": address.tool, "memcheck": memcheck.tool}


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="nox -s sanitize --", description=__doc__)
    parser.add_argument("tools", nargs="*", metavar="TOOL", help=f"of {', '.join(TOOLS)} (default: both)")
    return parser


def main() -> int:
    """Run each tool that is named, or both; return 1 when one found something, or missed what it has to find."""
    parser = arguments()
    order = parser.parse_args()
    unknown = [name for name in order.tools if name not in TOOLS]
    if unknown:
        parser.error(f"no tool is called {unknown[0]}; there are {', '.join(TOOLS)}")
    # Each says what it lacks before any of them builds for minutes.
    tools = [TOOLS[name]() for name in order.tools or TOOLS]
    held = True
    for tool in tools:
        began = time.monotonic()
        held &= tool.run()
        print(f"{tool.name}: {time.monotonic() - began:.0f} s", flush=True)
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
