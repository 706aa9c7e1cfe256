"""The core's tests as programs that a tool watches, and contracts that are broken so that it has something to see."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.sanitizers.nightly import CORE, ROOT

KEPT: Final = ROOT / ".nox" / "sanitizers"
KERNEL: Final = "PUNKTFUNK_FEC_KERNEL"

BROKEN: Final = (
    "gf8_reads_a_byte_beyond_its_data",
    "gf8_writes_a_byte_beyond_its_recovery",
    "gf16_reads_a_byte_beyond_its_data",
    "gf16_writes_a_byte_beyond_its_recovery",
)
"""Tests of core/tests/abi.rs that nobody else runs: a caller whose buffer is a byte shorter than it says."""

SOCKETS: Final = ("transport::", "stream::", "probe::")
"""Tests of what system calls are given: both tools know how far each of them reads and writes."""

_KERNELS: Final = re.compile(
    r"names no kernel that this machine can run; unset it, or set it to ([a-z0-9, -]+)"
)
_PASSED: Final = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Part:
    """Tests of one program: those whose names contain one of the words, or all, and none of the others."""

    program: str
    words: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    for_each_kernel: bool = False

    def arguments(self) -> tuple[str, ...]:
        """Return them as the test program takes them."""
        return (*self.words, *(word for skipped in self.without for word in ("--skip", skipped)))


@dataclass(frozen=True, slots=True)
class Tool:
    """How tests are built and run so that a tool watches their memory."""

    name: str
    cargo: tuple[str, ...]
    """The command in front of ``test``."""
    build_env: Mapping[str, str]
    options: tuple[str, ...]
    """What the build is told beside its profile."""
    parts: tuple[Part, ...]
    found: re.Pattern[str]
    """What it says of the contracts that :data:`BROKEN` breaks."""
    runner: tuple[str, ...] = ()
    """The command in front of a program."""
    env: Mapping[str, str] = field(default_factory=dict)

    def run(self) -> bool:
        """Build, prove that the tool sees, then run each part; print a line for each. Return whether all held."""
        print(f"{self.name}: building the tests (some minutes the first time)", flush=True)
        programs = self.build()
        kernels = self.kernels(programs["abi"])
        runs = sum(len(kernels) if part.for_each_kernel else 1 for part in self.parts)
        print(
            f"{self.name}: kernels {', '.join(kernels)}: {len(kernels) * len(BROKEN)} broken contracts to see, "
            f"then {runs} runs of tests, up to minutes each",
            flush=True,
        )
        held = True
        for kernel in kernels:
            for test in BROKEN:
                held &= self._sees(programs["abi"], test, kernel)
        for part in self.parts:
            for kernel in kernels if part.for_each_kernel else [None]:
                held &= self._passes(programs[part.program], part, kernel)
        return held

    def build(self) -> dict[str, Path]:
        """Compile the test programs; return them by name. Raise ``SystemExit`` where that fails."""
        names = dict.fromkeys(part.program for part in self.parts)
        chosen = [word for name in names for word in (["--lib"] if name == "lib" else ["--test", name])]
        command = (
            *self.cargo, "test", "--manifest-path", str(CORE / "Cargo.toml"), "--locked", "--release",
            "-p", "punktfunk-core", *self.options, *chosen, "--no-run", "--message-format=json-render-diagnostics",
        )  # fmt: skip
        built = subprocess.run(
            command, env=os.environ | self.build_env, stdout=subprocess.PIPE, text=True, check=False
        )
        if built.returncode != 0:
            sys.exit(f"{self.name}: the tests cannot be built, see above")
        made = [json.loads(line) for line in built.stdout.splitlines()]
        programs = {}
        for artefact in made:
            if artefact["reason"] == "compiler-artifact" and artefact["executable"]:
                kind = artefact["target"]["kind"]
                programs["lib" if "test" not in kind else artefact["target"]["name"]] = Path(
                    artefact["executable"]
                )
        return programs

    def kernels(self, program: Path) -> list[str]:
        """Return the kernels that run under the tool here: a name that is none is refused with their list."""
        ended = self._start(program, ("the_codecs_rebuild_a_block_through_pointers",), "?")
        found = _KERNELS.search(ended.stdout)
        if found is None:
            sys.exit(f"{self.name}: the kernels are not told:\n{ended.stdout[-4000:]}")
        return found[1].split(", ")

    def _sees(self, program: Path, test: str, kernel: str) -> bool:
        """Break a contract; return whether the tool ended the program for it."""
        ended = self._start(program, ("--ignored", "--exact", f"broken_contracts::{test}"), kernel)
        seen = ended.returncode != 0 and self.found.search(ended.stdout) is not None
        print(f"{self.name}: {test}, {kernel}: {'seen' if seen else 'NOT SEEN'}", flush=True)
        if not seen:
            print(ended.stdout[-4000:])
        return seen

    def _passes(self, program: Path, part: Part, kernel: str | None) -> bool:
        with_kernel, began = f", {kernel}" if kernel else "", time.monotonic()
        # What runs is named while it runs: the longest takes minutes.
        print(f"{self.name}: {part.program}{with_kernel}: ", end="", flush=True)
        ended = self._start(program, part.arguments(), kernel)
        counted = _PASSED.search(ended.stdout)
        # A filter that matches nothing passes as well.
        passed = ended.returncode == 0 and counted is not None and int(counted[1]) > 0
        said = f"{counted[1]} passed, {counted[2]} failed" if counted else "did not end"
        print(f"{said} in {time.monotonic() - began:.0f} s{'' if passed else ', BROKEN'}", flush=True)
        if not passed:
            print(ended.stdout[-12000:])
        return passed

    def _start(
        self, program: Path, arguments: Sequence[str], kernel: str | None
    ) -> subprocess.CompletedProcess[str]:
        env = os.environ | self.env | ({KERNEL: kernel} if kernel else {})
        return subprocess.run(
            (*self.runner, str(program), *arguments), cwd=CORE, env=env, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
