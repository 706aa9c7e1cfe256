"""Python mutants by mutmut: it plants all bugs of a file at once and switches one on in each forked test run."""

from __future__ import annotations

import ast
import configparser
import contextlib
import difflib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from tests.mutants import running
from tests.mutants.mutant import Mutant, Outcome, squeeze
from tests.mutants.rooms import Room

_FIRST_BATCH = 100
# mutmut's codes of a worker: pytest's own, signals that ended it, and 33 for a function that no test runs.
_SURVIVED, _UNTESTED, _INTERRUPTED = 0, (5, 33), 2
_NAME = re.compile(r"x(?:ǁ(?P<cls>[^ǁ]+)ǁ|_)(?P<function>.+?)__mutmut_(?:\d+|orig)$")


def plan(room: Room, tree: Path, shard: tuple[int, int]) -> dict[str, Mutant]:
    """Return the mutants of the room's shard by mutmut's name for them, in an order that is the same each time
    and has nothing to do with their places: what a budget cuts off is a fair sample."""
    _configure(room, tree)
    number, shards = shard
    planned = {
        name: mutant
        for file in room.files()
        for name, mutant in _mutants(room.name, file, tree)
        if int.from_bytes(sha256(name.encode()).digest()[:4]) % shards == number - 1
    }
    return dict(sorted(planned.items(), key=lambda item: sha256(item[0].encode()).digest()))


def run(
    room: Room, tree: Path, planned: dict[str, Mutant], deadline: float | None, log: Path
) -> list[Mutant]:
    """Run the room's tests on each planned mutant until ``deadline`` and return them with their outcomes."""
    _configure(room, tree)
    shutil.rmtree(tree / "mutants", ignore_errors=True)
    names, done, began, cut = list(planned), 0, time.monotonic(), False
    while done < len(names) and not cut:
        size = len(names) - done
        if deadline is not None:
            left = deadline - time.monotonic()
            size = min(size, _FIRST_BATCH if not done else int(left * done / (time.monotonic() - began)))
            if left <= 0 or not size:
                break
        # mutmut reads its arguments as patterns, to which a name is itself.
        command = [
            sys.executable,
            "-c",
            "from mutmut.__main__ import cli; cli()",
            "run",
            *names[done : done + size],
        ]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        status = running.run(command, cwd=tree, log=log, deadline=deadline, env={"PATH": path})
        cut = status is None
        if status:
            raise SystemExit(f"mutmut failed in room {room.name}; the tests must pass unmutated. See {log}")
        done += size
    codes = _exit_codes(room, tree)
    return [replace(m, outcome=_outcome(codes.get(name), cut)) for name, m in planned.items()]


def _outcome(code: int | None, cut: bool) -> Outcome:
    if code is None or (code == _INTERRUPTED and cut):
        return Outcome.NOT_RUN
    if code in _UNTESTED:
        return Outcome.UNTESTED
    return Outcome.SURVIVED if code == _SURVIVED else Outcome.CAUGHT


def _exit_codes(room: Room, tree: Path) -> dict[str, int | None]:
    codes: dict[str, int | None] = {}
    for file in room.files():
        meta = tree / "mutants" / f"{file}.meta"
        if meta.is_file():
            codes |= json.loads(meta.read_text())["exit_code_by_key"]
    return codes


def _configure(room: Room, tree: Path) -> None:
    settings = {
        "source_paths": ["harness", "punktfunk"],
        "only_mutate": [str(file) for file in room.files()],
        "also_copy": ["scenarios", "docs", "reports", "noxfile.py", "README.md", ".ci"],
        "pytest_add_cli_args_test_selection": list(room.tests),
        "pytest_add_cli_args": ["-p", "no:cacheprovider"],
        # Workers that fork from a process that already ran the tests find every functools.cache full.
        "process_isolation": ["forkserver"],
        "use_git_change_detection": ["false"],
        "track_dependencies": ["false"],
    }
    parser = configparser.ConfigParser()
    parser["mutmut"] = {key: "\n".join(values) for key, values in settings.items()}
    with (tree / "setup.cfg").open("w") as file:
        parser.write(file)


def _mutants(room: str, file: Path, tree: Path) -> Iterator[tuple[str, Mutant]]:
    """Give each mutant that mutmut makes of a file, with its own name and as house and editors name it."""
    with contextlib.chdir(tree):  # mutmut reads its settings from there
        from mutmut.mutation.file_mutation import mutate_file_contents

        source = Path(file).read_text()
        made = mutate_file_contents(str(file), source)
    original = {_key(cls, node.name): node.lineno for cls, node in _functions(source)}
    lines = made.code.splitlines()
    bodies = {node.name: lines[node.lineno - 1 : node.end_lineno] for _, node in _functions(made.code)}
    module = str(file.with_suffix("")).replace("/", ".").removesuffix(".__init__")
    for name in made.mutant_names:
        match = _NAME.match(name)
        assert match, name
        function = _key(match["cls"], match["function"])
        offset, before, after = _change(bodies[f"{name.rpartition('_')[0]}_orig"], bodies[name])
        yield (
            f"{module}.{name}",
            Mutant(room, str(file), original[function] + offset, function, before, after),
        )


def _functions(source: str) -> Iterator[tuple[str | None, ast.FunctionDef | ast.AsyncFunctionDef]]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.parse(source).body:
        if isinstance(node, kinds):
            yield None, node
        elif isinstance(node, ast.ClassDef):
            yield from ((node.name, inner) for inner in node.body if isinstance(inner, kinds))


def _key(cls: str | None, function: str) -> str:
    return f"{cls}.{function}" if cls else function


def _change(original: list[str], mutated: list[str]) -> tuple[int, str, str]:
    """Return the first changed line counted from ``def``, and the changed lines before and after."""
    a, b = ([re.sub(r"def \w+", "def", lines[0], count=1), *lines[1:]] for lines in (original, mutated))
    changes = [
        op for op in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes() if op[0] != "equal"
    ]
    before = squeeze(" ".join(line for _, i, j, _, _ in changes for line in a[i:j]))
    after = squeeze(" ".join(line for _, _, _, i, j in changes for line in b[i:j]))
    return changes[0][1], before, after
