"""Valgrind's memcheck: a processor in software that runs the gate's tests and knows which bytes were written."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Final

from tests.sanitizers.programs import SOCKETS, Part, Tool

MISSING: Final = """\
memcheck is a part of Valgrind, which this machine does not have
  → apt-get install valgrind"""
EXIT_CODE: Final = 97
SUPPRESSIONS: Final = Path(__file__).with_suffix(".supp")

PARTS: Final = (
    # Valgrind's processor has other features than /proc/cpuinfo says.
    Part("lib", ("fec::", "abi::", *SOCKETS), without=("every_kernel_that_this_machine",)),
    Part("vectors"),
    Part("gf8", without=("the_environment_forces",)),
    Part("fec", without=("the_largest_blocks_of_the_field", "large_blocks_survive")),
    Part("abi"),
    Part("abi_gamestream"),
    Part("abi", ("the_codecs", "lossy_pair"), for_each_kernel=True),
)


def tool() -> Tool:
    """Return how tests run under memcheck; raise ``SystemExit`` with the fix where there is no Valgrind."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        sys.exit(MISSING)
    return Tool(
        name="memcheck",
        cargo=("cargo",),
        # As `nox -s rust` builds them, whose programs are used again.
        build_env={},
        options=(),
        parts=PARTS,
        found=re.compile(r"Invalid (read|write) of size"),
        runner=(
            valgrind, "--tool=memcheck", "--quiet", f"--error-exitcode={EXIT_CODE}", f"--suppressions={SUPPRESSIONS}",
            "--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite",
            # The C programs of the tests, too, but not the compiler that makes them.
            "--trace-children=yes", "--trace-children-skip=*/cc,*/rustc",
        ),
    )  # fmt: skip
