"""The wires that a scenario may name: the one place where a protocol is added.

``protocol:`` belongs to a session and not to one of its ends: both have to speak it. So a layer or an axis may choose
it, and one matrix may hold two wires side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from harness.scenario.diagnostics import did_you_mean
from harness.scenario.link import MisfitError
from punktfunk.printable import printable

_SHOWN: Final = 60
"""Characters of a name that is not known."""


@dataclass(frozen=True, slots=True)
class WireProtocol:
    """What the harness has to know of a wire before a stream runs over it."""

    name: str
    """As scenarios and results write it."""
    host: str
    """``module:class`` of the host over a live link: a ``harness.peers.loading.HostKind``."""
    client: str
    """``module:class`` of its client: a ``ClientKind``."""
    simulation: str = ""
    """``module:class`` of both ends in virtual time (``link.backend: sim``): a ``SimulationKind``; "" for none."""
    first_index: int = 0
    """Number of a stream's first frame; markers in the picture count from 0 whatever the wire."""


DEFAULT: Final = "punktfunk/1"
"""What a scenario without ``protocol:`` means, and every result from before there was that key."""
GAMESTREAM: Final = "gamestream"

PROTOCOLS: Final[dict[str, WireProtocol]] = {
    wire.name: wire
    for wire in (
        WireProtocol(
            "punktfunk/1",
            host="harness.peers.host:PunktfunkHost",
            client="harness.peers.client:PunktfunkClient",
            simulation="harness.peers.simulated:Simulation",
        ),
        WireProtocol(
            GAMESTREAM,
            host="harness.peers.gamestream:GameStreamHost",
            client="harness.peers.gamestream:GameStreamClient",
            simulation="harness.peers.simulated:GameStreamSimulation",
            first_index=1,
        ),
    )
}
"""Every wire by its name. A further one is one more entry."""


def known_protocol(name: str) -> str:
    """Return the name of a wire; raise MisfitError that lists the known ones for any other."""
    if name not in PROTOCOLS:
        raise MisfitError(
            "",
            f"there is no protocol '{printable(name, _SHOWN)}' here; known: {', '.join(PROTOCOLS)}",
            did_you_mean(name, PROTOCOLS),
        )
    return name


ProtocolName = Annotated[
    str, AfterValidator(known_protocol), Field(json_schema_extra={"enum": list(PROTOCOLS)})
]
