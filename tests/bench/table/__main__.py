"""Measure every row of the table of targets and print it with verdicts: ``nox -s bench``.

Each bench is a program of its own, built as the wheel is and run while the machine is watched. One that met a busy
machine runs again.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.analysis.results import Quietness
from harness.run import environment as machine_and_software
from punktfunk.errors import ResultsError
from tests.bench.table import built, programs, reference, result, text
from tests.bench.table.figures import BenchError, Figures, Output
from tests.bench.table.targets import CORE, ROOT, Target, targets
from tests.bench.table.verdict import Row, judge

IN_PYTHON = {"dataplane": ROOT / "tests" / "bench" / "dataplane.py"}
OPTIONS = {"dataplane": ("--rounds", "3", "--seconds", "2")}
"""One run at a rate without a loss may have been luck."""
NO_REFERENCE = "no reference"
NO_MODULE = "punktfunk/core has not the module that was built: cp {module} punktfunk/core/"
NO_ROOT = "needs root, for namespaces"
NO_ISAL = "no ISA-L: `nox -s bench` installs the wheel that has it"


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="nox -s bench -- table", description=__doc__)
    parser.add_argument("--json", type=_new_file, metavar="FILE", help="keep the table for a later --compare")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="show beside each row what it was")
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="DIR",
        help="a checkout of the Rust reference; its bench is built there",
    )
    elsewhere = parser.add_mutually_exclusive_group()
    elsewhere.add_argument(
        "--build-only", type=Path, metavar="DIR", help="measure nothing: put the programs there, for --built"
    )
    elsewhere.add_argument(
        "--built",
        type=Path,
        metavar="DIR",
        help="run programs that were built elsewhere, the reference's too: for a machine without a compiler",
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="rows whose name holds this, say gf8 or encode"
    )
    parser.add_argument(
        "--tries", type=_count, default=2, help="runs of a bench until the machine was quiet (default 2)"
    )
    parser.add_argument("--turns", type=_count, default=3, help="turns beside the reference (default 3)")
    return parser


def _new_file(text: str) -> Path:
    file = Path(text).absolute()
    if not file.parent.is_dir() or file.is_dir():
        raise argparse.ArgumentTypeError(f"{text} cannot be written: name a file in a folder that is there")
    return file


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100")
    return int(text)


class Run:
    """One table in the making."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._environment = programs.default_build(os.environ)
        self._programs: dict[str, Path] = {}
        self._unbuilt = ""
        """Why a program is not there."""
        self._folder: Path | None = options.built and options.built.absolute()
        """Of programs that were built elsewhere."""
        self._built = built.load(self._folder) if self._folder else None
        if self._folder:
            self._environment |= built.isal(self._folder)
        self._spans: dict[str, result.Span] = {}
        self.failed = False
        """Whether a bench could not be measured that should have been."""

    def table(self, wanted: list[Target]) -> result.Table:
        """Build and run what the wanted rows need, and return them all."""
        benches = list(dict.fromkeys(target.bench for target in wanted))
        self._build(sorted(set(benches) - set(IN_PYTHON)))
        outputs: dict[str, Output | str] = {
            bench: self._measured(bench, f"{number} of {len(benches)}")
            for number, bench in enumerate(benches, start=1)
        }
        judged = [
            self._judge(target, outputs[target.bench]) for target in wanted if target.judged != "reference"
        ]
        against = [target for target in wanted if target.judged == "reference"]
        rows = {row.target.key: row for row in [*judged, *self._beside_reference(against, outputs)]}
        return result.Table(
            made=datetime.datetime.now(datetime.UTC),
            environment=machine_and_software.describe(),
            features=result.features(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")),
            built=self._built,
            reference=str(self._options.reference or self._built_reference() or ""),
            spans=self._spans,
            rows=[rows[target.key] for target in wanted],
        )

    def _build(self, benches: list[str]) -> None:
        if not benches:
            return
        if self._folder:
            self._programs = built.found(self._folder, benches)
            self._unbuilt = (
                f"{self._folder} has no such program: fill it with --build-only by the same --only"
            )
            return
        _say(f"building {', '.join(benches)}: some minutes where they changed")
        try:
            self._programs = programs.build(CORE / "Cargo.toml", benches, self._environment)
        except BenchError as error:
            self.failed, self._unbuilt = True, str(error)

    def _command(self, bench: str) -> list[str]:
        if bench in IN_PYTHON:
            return [sys.executable, str(IN_PYTHON[bench]), *OPTIONS.get(bench, ())]
        return [str(self._programs[bench]), "--bench"]

    def _absent(self, bench: str) -> str:
        """Return why a bench cannot run here, "" where it can."""
        if bench == "isal" and not self._environment.get("PUNKTFUNK_ISAL"):
            return NO_ISAL
        if bench == "dataplane" and os.geteuid():
            return NO_ROOT
        if bench in IN_PYTHON:
            if self._folder and not built.has_module(self._folder):
                return NO_MODULE.format(module=self._folder / built.MODULE)
        elif bench not in self._programs:
            self.failed = True
            return self._unbuilt
        return ""

    def _measured(self, bench: str, turn: str) -> Output | str:
        """Return what a bench kept, or why it kept nothing."""
        if absent := self._absent(bench):
            return absent
        _say(f"measuring {bench} ({turn})")
        folder, environment = CORE, self._environment
        if bench in IN_PYTHON:
            folder = ROOT
            environment = {**environment, "PYTHONPATH": _first(ROOT, environment.get("PYTHONPATH", ""))}
        try:
            output, machine = programs.watched(
                lambda: programs.measure(self._command(bench), environment, folder),
                self._options.tries,
                busy=lambda machine: _again(bench, machine),
            )
        except BenchError as error:
            self.failed = True
            return f"{bench} {error}"
        self._spans[bench] = result.Span(kernel=output.kernel, machine=machine)
        return output

    def _judge(self, target: Target, output: Output | str) -> Row:
        if isinstance(output, str):
            return judge(target, None, None, reason=output)
        return judge(
            target,
            output.find(target.row),
            self._spans[target.bench].machine,
            named_kernel=os.environ.get("PUNKTFUNK_FEC_KERNEL", "") if output.kernel else "",
        )

    def _beside_reference(self, wanted: list[Target], outputs: Mapping[str, Output | str]) -> list[Row]:
        """Return rows beside the reference, measured in turns with it; without one our figure stands alone."""
        folder = self._options.reference
        bench = wanted[0].bench if wanted else ""
        program = self._built_reference()
        if (folder is None and program is None) or isinstance(outputs.get(bench, ""), str):
            return [_alone(target, outputs[target.bench], NO_REFERENCE) for target in wanted]
        try:
            if program is None:
                _say(f"building the reference in {folder}")
                program = reference.build(folder, self._environment)
            _say(f"measuring {bench} and the reference in {self._options.turns} turns")
            (ours, theirs), machine = programs.watched(
                lambda: self._turns(bench, program),
                self._options.tries,
                busy=lambda machine: _again(bench, machine),
            )
            found = {target.key: reference.beside(target.row, ours, theirs) for target in wanted}
        except BenchError as error:
            self.failed = True
            return [_alone(target, outputs[target.bench], f"reference: {error}") for target in wanted]
        self._spans[f"{bench} beside the reference"] = result.Span(kernel=ours[0].kernel, machine=machine)
        named = os.environ.get("PUNKTFUNK_FEC_KERNEL", "")
        return [judge(target, found[target.key], machine, named_kernel=named) for target in wanted]

    def _built_reference(self) -> Path | None:
        return self._folder and built.reference_of(self._folder)

    def _turns(self, bench: str, program: Path) -> tuple[list[Output], list[dict[str, float]]]:
        ours, theirs = [], []
        for turn in range(1, self._options.turns + 1):
            _say(f"turn {turn} of {self._options.turns}")
            ours.append(programs.measure(self._command(bench), self._environment, CORE))
            theirs.append(reference.measure(program, self._environment))
        return ours, theirs


def _alone(target: Target, output: Output | str, reason: str) -> Row:
    """Return a row that has our figure and no rival's."""
    if isinstance(output, str):
        return judge(target, None, None, reason=output)
    figures = output.find(target.row)
    alone = figures and Figures(work=target.row, unit=figures.unit, ours=figures.ours, failed=figures.failed)
    return judge(target, alone, None, reason=reason if alone else "")


def _first(folder: Path, path: str) -> str:
    """Return a path of search with a folder in front: nothing has to be installed for this checkout to run."""
    return os.pathsep.join(filter(None, [str(folder), path]))


def _again(bench: str, machine: Quietness) -> None:
    _say(f"{bench} runs again, the machine was {text.said_of(machine)}")


def _say(words: str) -> None:
    print(f"bench: {words}", file=sys.stderr, flush=True)


def main() -> int:
    """Print the table; return 1 where a bench failed or an argument is wrong, and 0 whatever the verdicts are."""
    parser = arguments()
    options = parser.parse_args()
    wanted = [target for target in targets() if options.only in f"{target.row} {target.bench} {target.title}"]
    if not wanted:
        parser.error(f"no row holds {options.only!r}")
    if options.built and options.reference:
        parser.error(
            "--built has the reference's program where it was filled with --reference: leave it out here"
        )
    try:
        if options.build_only:
            return _build_only(options, wanted)
        run = Run(options)
        before = result.load(options.compare) if options.compare else None
        table = run.table(wanted)
        for line in text.lines(table, before):
            print(line)
        if options.json:
            result.save(table, options.json)
    except (ResultsError, BenchError) as error:
        _say(str(error))
        return 1
    return int(run.failed)


def _build_only(options: argparse.Namespace, wanted: list[Target]) -> int:
    benches = sorted({target.bench for target in wanted} - set(IN_PYTHON))
    about = built.make(options.build_only, benches, programs.default_build(os.environ), options.reference)
    _say(
        f"{options.build_only} has {about.git or 'a core without a commit'}, for machines that are {about.machine}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
