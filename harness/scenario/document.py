"""YAML files as trees that remember where every key and value was written."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from harness.scenario import peer_names
from harness.scenario.diagnostics import Position, Problem
from punktfunk.regular_file import read_regular

PATH_KEYS = frozenset({"file", "trace"})
"""Keys whose text is a path beside the file that says it, whichever file extends that one."""
MAX_BYTES = 1_000_000
"""Of a scenario file; it is not read further, whatever it is."""
MAX_DEPTH = 40
MAX_NODES = 200_000
"""Values of a file once its aliases are written out: a few lines of them can stand for billions."""
MAX_DIGITS = 400
"""Of a whole number; a longer one stays text, which no key takes. Python refuses to read 4300."""

Scalar = str | int | float | bool | None


@dataclass(slots=True)
class Node:
    """A value with its position: a scalar, a list of nodes, or a mapping of nodes."""

    at: Position
    value: Scalar | list[Node] | dict[str, Node]
    key_at: Position | None = None
    """Where the key stands that this node belongs to, in a mapping."""
    text: str = field(default="")
    """A scalar as it was written."""

    @property
    def mapping(self) -> dict[str, Node]:
        """The entries of a mapping; empty for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The elements of a list; empty for anything else."""
        return self.value if isinstance(self.value, list) else []

    def plain(self, key: str = "") -> Any:
        """Return the value as plain Python data, paths resolved against the file that says them."""
        if isinstance(self.value, dict):
            return {name: node.plain(name) for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain(key) for node in self.value]
        if key in PATH_KEYS and isinstance(self.value, str):
            return str(Path(self.at.file).parent / self.value)
        if key in peer_names.KEYS and isinstance(self.value, str):
            return peer_names.place_of(Path(self.at.file).parent, self.value)
        return self.value

    def find(self, path: Sequence[str | int]) -> Node:
        """Follow keys and indices as far as they lead."""
        node = self
        for step in path:
            if isinstance(step, str) and step in node.mapping:
                node = node.mapping[step]
            elif isinstance(step, int) and step < len(node.items):
                node = node.items[step]
            else:
                break
        return node

    def scalars(self) -> Iterator[Node]:
        """Yield every scalar below, and itself if it is one."""
        if isinstance(self.value, dict | list):
            for child in self.value.values() if isinstance(self.value, dict) else self.value:
                yield from child.scalars()
        else:
            yield self


def merge(base: Node, over: Node) -> Node:
    """Lay one tree over another as RFC 7396 does: mappings merge, null removes, the rest replaces."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    entries = dict(base.value)
    for key, node in over.value.items():
        if node.value is None:
            entries.pop(key, None)
        elif key in entries:
            entries[key] = merge(entries[key], node)
        else:
            entries[key] = node
    merged = copy.copy(over)
    merged.value = entries
    return merged


def parse(  # noqa: PLR0911 - one return a reason
    path: Path, problems: list[Problem], *, what: str = "a scenario"
) -> Node | None:
    """Read a file into a tree; add to ``problems`` what is wrong and return what could be read, or None.

    ``what`` is what the file should hold, for the words of a problem.
    """
    start = Position(str(path))
    try:
        raw = read_regular(path, MAX_BYTES)
    except OSError as error:
        problems.append(Problem(start, f"cannot be read: {error.strerror or error}"))
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        problems.append(Problem(Position(str(path), line), "is not UTF-8 text"))
        return None
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        problems.append(_syntax_problem(path, text, error))
        return None
    except YAMLError as error:
        problems.append(Problem(start, f"is not YAML: {str(error).splitlines()[0]}"))
        return None
    except RecursionError:
        problems.append(Problem(start, f"nested deeper than {MAX_DEPTH} levels"))
        return None
    if root is None:
        hint = "a scenario has at least media: or layers:" if what == "a scenario" else ""
        problems.append(Problem(start, "is empty", hint))
        return None
    if not isinstance(root, MappingNode):
        problems.append(Problem(_position(path, root), f"{what} is a mapping of keys to values"))
        return None
    try:
        return _convert(path, root, problems, 0, itertools.count(1))
    except _BeyondLimitError as beyond:
        problems.append(beyond.problem)
        return None


class _BeyondLimitError(Exception):
    """A file has more in it than is read; one problem says it, not one a value."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def _convert(path: Path, node: Any, problems: list[Problem], depth: int, count: Iterator[int]) -> Node:
    at = _position(path, node)
    if depth > MAX_DEPTH:
        hint = "does an alias stand inside what it names?"
        raise _BeyondLimitError(Problem(at, f"nested deeper than {MAX_DEPTH} levels", hint))
    if next(count) > MAX_NODES:
        hint = "do aliases repeat each other?"
        raise _BeyondLimitError(Problem(at, f"a scenario has at most {MAX_NODES} values", hint))
    if isinstance(node, ScalarNode):
        return Node(at, _scalar(node), text=str(node.value))
    if isinstance(node, SequenceNode):
        return Node(at, [_convert(path, child, problems, depth + 1, count) for child in node.value])
    entries: dict[str, Node] = {}
    for key_node, value_node in node.value:
        key_at = _position(path, key_node)
        if not isinstance(key_node, ScalarNode):
            problems.append(Problem(key_at, "a key is a word"))
            continue
        key = str(key_node.value)
        if key in entries:
            first = entries[key].key_at
            problems.append(
                Problem(
                    key_at, f"key '{key}' is given twice", f"first in line {first.line if first else '?'}"
                )
            )
            continue
        child = _convert(path, value_node, problems, depth + 1, count)
        child.key_at = key_at
        entries[key] = child
    return Node(at, entries)


def _scalar(node: ScalarNode) -> Scalar:  # noqa: PLR0911 - one return a type
    """Resolve a scalar as YAML 1.2 does, less ``0x10`` and ``1_000``: they stay text, nothing wants them."""
    text = str(node.value)
    if node.style in {'"', "'", "|", ">"}:
        return text
    match str(node.tag).rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int" if len(text) <= MAX_DIGITS and text.lstrip("+-").isdecimal():
            return int(text)
        case "float":
            try:
                return float(text)
            except ValueError:
                return text
        case _:
            return text


def _position(path: Path, node: Any) -> Position:
    start, end = node.start_mark, node.end_mark
    width = end.column - start.column if end.line == start.line else 1
    return Position(str(path), start.line + 1, start.column + 1, max(1, width))


def _syntax_problem(path: Path, text: str, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    column = mark.column if mark else 0
    lines = text.splitlines()
    if line < len(lines) and "\t" in lines[line][: len(lines[line]) - len(lines[line].lstrip())]:
        tab = lines[line].index("\t")
        return Problem(Position(str(path), line + 1, tab + 1), "indented with a tab", "YAML wants spaces")
    message = (error.problem or "cannot be parsed").replace("could not find expected", "no")
    if line < len(lines) and re.search(r"[{,\[]\s*(\w+:\s*)?\$\{", lines[line]):
        start = lines[line].index("${")
        at = Position(str(path), line + 1, start + 1, 2)
        return Problem(at, "an axis inside braces or brackets stands in quotes", 'write "${axis}"')
    context = f" ({error.context})" if error.context else ""
    return Problem(Position(str(path), line + 1, column + 1), f"is not YAML: {message}{context}")
