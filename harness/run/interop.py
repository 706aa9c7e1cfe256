"""Which cases a matrix of programs has: every host with every client of its wire, a layer of a scenario a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

from harness.scenario import peer_names
from harness.scenario.diagnostics import did_you_mean
from harness.scenario.expand import expand
from harness.scenario.foreign import PeerDescription, load
from harness.scenario.peer_names import OURS
from punktfunk.errors import UsageError

AXES: Final = ("host", "client")
Matrix: TypeAlias = dict[Path, tuple[dict[str, tuple[str, ...]], tuple[str, ...]]]
"""By scenario: the values that its axes are given, and the ids of its cases that are run."""


def plan(
    files: Sequence[Path], *, hosts: tuple[str, ...], clients: tuple[str, ...], tests: tuple[str, ...]
) -> Matrix:
    """Return what to run of each scenario; empty tuples leave a scenario as it stands.

    A scenario is left out where no host or no client that was named speaks its protocol. Raises UsageError for one
    without the two axes, for a peer that there is not, for a test that no scenario has, and where nothing is left.
    """
    found: Matrix = {}
    known: dict[str, None] = {}
    for file in files:
        own = expand(file)
        if not all(name in case.params for case in own.cases for name in AXES):
            raise UsageError(f"{file} has no axes {' and '.join(AXES)}", "see scenarios/interop.yaml")
        protocol = own.cases[0].spec.protocol
        axes = {
            name: speaking
            for name, given in zip(AXES, (hosts, clients), strict=True)
            if given and (speaking := tuple(p for g in given if (p := _speaks(file, g, name, protocol))))
        }
        if (hosts and "host" not in axes) or (clients and "client" not in axes):
            continue
        cases = expand(file, axes=axes).cases
        known |= dict.fromkeys(case.layer for case in cases)
        chosen = tuple(case.id for case in cases if not tests or case.layer in tests)
        if chosen:
            found[file] = (axes, chosen)
    unknown = next((name for name in tests if name not in known), None)
    if known and unknown is not None:
        raise UsageError(
            f"there is no test '{unknown}'",
            did_you_mean(unknown, known, otherwise=f"tests: {', '.join(known)}"),
        )
    if not found:
        raise UsageError(
            "no host and client that were named speak a wire of these scenarios",
            "protocols: of their descriptions says what they speak",
        )
    return found


def _speaks(file: Path, given: str, role: str, protocol: str) -> str:
    """Return a peer as the scenario is to name it; "" where it does not speak the protocol."""
    if given == OURS:
        return given
    # A path is the command line's, a bare name the scenario's.
    path = Path(given).absolute() if Path(given).suffix else Path(peer_names.place_of(file.parent, given))
    if not path.is_file():
        names = [OURS, *peer_names.known_names(file.parent)]
        raise UsageError(
            f"there is no peer '{given}'", did_you_mean(given, names, otherwise=f"known: {', '.join(names)}")
        )
    description: PeerDescription = load(path)
    if description.role != role:
        raise UsageError(f"{given} is a {description.role}", f"name it by --{description.role}")
    return (str(path) if Path(given).suffix else given) if protocol in description.protocols else ""
