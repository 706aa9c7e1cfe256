"""The cases of a scenario by their number: made when they are asked for, so that a million of them take no memory.

A session's keys (``stream``, ``link``, …) each depend on few axes. A key is validated once for each combination of the
axes that it names and shared by all cases that have it so; a case is put together from such parts. Before anything
runs :meth:`LayerCases.check` has validated whatever can be wrong, so that no case of a layer is a surprise later.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias, cast, overload

from pydantic import TypeAdapter, ValidationError

from harness.scenario import peer_names
from harness.scenario.case import Case, case_seed, folder_name, label_of, slug
from harness.scenario.diagnostics import Problem
from harness.scenario.document import Node
from harness.scenario.expectations import expectation_problems
from harness.scenario.link import Backend, Link
from harness.scenario.model import SESSION_KEYS, Session
from harness.scenario.validation import problems_of

REFERENCE: Final = re.compile(r"\$\{([^}]*)\}")
CHECKED_WHOLE: Final = 20_000
"""Points of a layer up to which each is validated as a whole; of a larger one each combination of what interacts."""
_PARTS_KEPT: Final = 4096
_MOST_PROBLEMS: Final = 200
"""Problems after which a matrix is looked at no further: one mistake may be in every case."""
_ADAPTERS: Final = {
    name: TypeAdapter[Any](cast("Any", Annotated[field.annotation, field]))
    for name, field in Session.model_fields.items()
}

Axes: TypeAlias = Mapping[str, Sequence[Mapping[str, Node]]]
"""By name, rows of what each value sets."""
Point: TypeAlias = tuple[int, ...]
"""The number of a row of each axis."""


class LayerCases(Sequence[Case]):
    """The cases of one layer in the order of its axes, the last one fastest, repeats fastest of all."""

    def __init__(
        self,
        tree: Node,
        axes: Axes,
        *,
        repeats: int,
        scenario: str,
        layer: str,
        seed: int,
        file: str,
        run_seed: int | None = None,
        given: tuple[tuple[str, tuple[str, ...]], ...] = (),
    ) -> None:
        self.layer = layer
        self.scenario = scenario
        self._tree = tree
        """The keys of a session, with ``${axis}`` in them."""
        self._rows = [list(rows) for rows in axes.values()]
        self._repeats, self._seed, self._file, self._run_seed = repeats, seed, file, run_seed
        # A row is known by its first name: what else it sets follows from that and is no axis of a table.
        self._labels = [[next(iter(row.items())) for row in rows] for rows in self._rows]
        self._slugs = [
            [f"{name}={slug(label_of(_scalar(node)))}" for name, node in labels] for labels in self._labels
        ]
        self._given = given
        self._wires = _wire_axes(tree, axes)
        self._uses = {key: _axes_of(tree.mapping[key], self._rows) for key in tree.mapping}
        self._parts: dict[tuple[str, Point], Any] = {}
        self._others = {key: value for key, value in Session() if key not in tree.mapping}
        self._points = math.prod(len(rows) for rows in self._rows)

    def __len__(self) -> int:
        return self._points * self._repeats

    @overload
    def __getitem__(self, place: int) -> Case: ...
    @overload
    def __getitem__(self, place: slice) -> list[Case]: ...
    def __getitem__(self, place: int | slice) -> Case | list[Case]:
        if isinstance(place, slice):
            return [self[n] for n in range(*place.indices(len(self)))]
        point, repeat = self._at(place)
        params = {
            name: label_of(node.value)
            for name, node in (labels[n] for labels, n in zip(self._labels, point, strict=True))
        }
        drawn = {name: value for name, value in params.items() if name not in self._wires}
        values = {key: self._part(key, point) for key in self._tree.mapping}
        return Case(
            id=self._name(point, repeat),
            scenario=self.scenario,
            spec=Session.model_construct(_fields_set=set(values), **self._others, **values),
            seed=case_seed(self._seed, self.scenario, self.layer, drawn, repeat),
            params=params,
            layer=self.layer,
            repeat=repeat,
            file=self._file,
            run_seed=self._run_seed,
            axes=self._given,
        )

    def id_of(self, place: int) -> str:
        """Return the name of a case without making the case."""
        return self._name(*self._at(place))

    def digest(self) -> str:
        """Return a name of everything that its cases follow from, the same on every machine."""
        axes = [[{name: node.plain() for name, node in row.items()} for row in rows] for rows in self._rows]
        what = [self.scenario, self.layer, self._seed, self._repeats, self._tree.plain(), axes]
        return hashlib.sha256(json.dumps(what, default=str).encode()).hexdigest()

    def backends(self) -> set[Backend]:
        """Return what ``link.backend`` says, over all cases."""
        if "link" not in self._tree.mapping:
            return {Link().backend}
        return {self._part("link", point).backend for point in self._points_of(self._uses["link"])}

    def check(self) -> list[Problem]:
        """Return everything that is wrong with any of the cases, by its position; nothing when all can run.

        Up to :data:`CHECKED_WHOLE` points each is tried. Of more, what can be at odds with each other is tried in
        each of its combinations: ``stream`` (unless it is sabotaged) and ``expect`` depend on nothing but themselves.
        """
        mapping = self._tree.mapping
        alone = [key for key in ("expect", "stream") if key in mapping]
        if self._points <= CHECKED_WHOLE:
            alone = []
        elif "stream" in alone and "sabotage" in mapping["stream"].mapping:
            alone.remove("stream")
        together = sorted({axis for key in mapping if key not in alone for axis in self._uses[key]})
        problems: list[Problem] = []
        tried: list[tuple[list[str], Sequence[int]]] = [(list(mapping), together)]
        tried += [([key], self._uses[key]) for key in alone]
        for keys, used in tried:
            for point in self._points_of(used):
                if len(problems) >= _MOST_PROBLEMS:
                    return problems
                problems += self._problems_at(point, keys)
        return problems

    def _problems_at(self, point: Point, keys: Iterable[str]) -> Iterator[Problem]:
        try:
            values = {key: self._part(key, point) for key in keys}
            spec = Session.model_validate(values)
        except ValidationError:
            varied = self._varied(point)
            try:
                Session.model_validate(varied.plain())
            except ValidationError as error:
                yield from problems_of(error, Session, varied)
            yield from expectation_problems(varied)
            return
        if spec.events:
            varied = self._varied(point)
            end = spec.media.duration_ns
            for index, event in enumerate(spec.events):
                if event.at.ns >= end:
                    at = varied.find(("events", index, "at")).at
                    yield Problem(at, f"the event is at {event.at}, the stream ends after {end / 1e9:g} s")
        if spec.expect:
            yield from expectation_problems(self._varied(point))

    def _at(self, place: int) -> tuple[Point, int]:
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        rest, repeat = divmod(place % len(self), self._repeats)
        point = []
        for rows in reversed(self._rows):
            rest, row = divmod(rest, len(rows))
            point.append(row)
        return tuple(reversed(point)), repeat

    def _name(self, point: Point, repeat: int) -> str:
        label = ",".join(slugs[n] for slugs, n in zip(self._slugs, point, strict=True))
        parts = [self.scenario, self.layer, label + (f",repeat={repeat}" if self._repeats > 1 else "")]
        return folder_name(".".join(part.strip(",") for part in parts if part))

    def _points_of(self, used: Sequence[int]) -> Iterator[Point]:
        """Yield every combination of some axes, the others at their first value."""
        return itertools.product(
            *(range(len(rows)) if axis in used else (0,) for axis, rows in enumerate(self._rows))
        )

    def _part(self, key: str, point: Point) -> Any:
        """Return the value of one key of a session; raise ValidationError where it has none."""
        own = (key, tuple(point[axis] for axis in self._uses[key]))
        if own not in self._parts:
            if len(self._parts) >= _PARTS_KEPT:
                self._parts.clear()
            names = self._names_at(point)
            self._parts[own] = _ADAPTERS[key].validate_python(
                _substitute(self._tree.mapping[key], names).plain(key)
            )
        return self._parts[own]

    def _varied(self, point: Point) -> Node:
        return _substitute(self._tree, self._names_at(point))

    def _names_at(self, point: Point) -> dict[str, Node]:
        return {
            name: node for rows, n in zip(self._rows, point, strict=True) for name, node in rows[n].items()
        }

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_parts": {}}


class Cases(Sequence[Case]):
    """Cases of several layers, all of them or those at some places, without holding one."""

    def __init__(self, layers: Sequence[LayerCases], places: Sequence[int] | None = None) -> None:
        self.layers = list(layers)
        self._ends = list(itertools.accumulate(len(layer) for layer in self.layers))
        self._places: Sequence[int] = range(self._ends[-1] if self._ends else 0) if places is None else places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, number: int) -> Case: ...
    @overload
    def __getitem__(self, number: slice) -> Cases: ...
    def __getitem__(self, number: int | slice) -> Case | Cases:
        if isinstance(number, slice):
            return Cases(self.layers, self._places[number])
        layer, place = self._found(number)
        return layer[place]

    def ids(self) -> Iterator[str]:
        """Yield the names of the cases in order, without making any."""
        for number in range(len(self)):
            layer, place = self._found(number)
            yield layer.id_of(place)

    def chosen(self, numbers: Iterable[int]) -> Cases:
        """Return some of the cases, by their numbers here."""
        return Cases(self.layers, array("Q", (self._places[number] for number in numbers)))

    def joined(self, others: Cases) -> Cases:
        """Return these cases and after them others."""
        shift = self._ends[-1] if self._ends else 0
        places = itertools.chain(self._places, (shift + place for place in others._places))
        return Cases([*self.layers, *others.layers], array("Q", places))

    def digest(self) -> str:
        """Return a name of what all its cases follow from, the same on every machine."""
        found = hashlib.sha256("".join(layer.digest() for layer in self.layers).encode())
        for first in range(0, len(self), 4096):
            found.update(array("Q", self._places[first : first + 4096]).tobytes())
        return found.hexdigest()

    def _found(self, number: int) -> tuple[LayerCases, int]:
        place = self._places[number]
        which = bisect_right(self._ends, place)
        return self.layers[which], place - (self._ends[which - 1] if which else 0)


def _axes_of(node: Node, rows: Sequence[Sequence[Mapping[str, Node]]]) -> tuple[int, ...]:
    """Return the numbers of the axes that a part of a session names."""
    named = {
        match[1]
        for scalar in node.scalars()
        if isinstance(scalar.value, str)
        for match in REFERENCE.finditer(scalar.value)
    }
    return tuple(axis for axis, values in enumerate(rows) if named & values[0].keys())


def _wire_axes(body: Node, axes: Axes) -> set[str]:
    """Return the names by which cases are told apart that choose nothing but their protocol and peers."""
    named = {
        name
        for key in ("protocol", *peer_names.KEYS)
        if key in body.mapping
        for name in REFERENCE.findall(body.mapping[key].text)
    }
    return {next(iter(rows[0])) for rows in axes.values() if rows[0].keys() <= named}


def _substitute(node: Node, names: Mapping[str, Node]) -> Node:
    if isinstance(node.value, dict):
        value: Any = {key: _substitute(child, names) for key, child in node.value.items()}
    elif isinstance(node.value, list):
        value = [_substitute(child, names) for child in node.value]
    elif isinstance(node.value, str) and "${" in node.value:
        whole = REFERENCE.fullmatch(node.value.strip())
        if whole:
            found = copy.copy(names[whole[1]])
            found.key_at = node.key_at
            return found
        value = REFERENCE.sub(lambda match: names[match[1]].text, node.value)
    else:
        return node
    changed = copy.copy(node)
    changed.value = value
    return changed


def _scalar(node: Node) -> Any:
    return node.value if not isinstance(node.value, dict | list) else None


assert set(SESSION_KEYS) == set(_ADAPTERS)
