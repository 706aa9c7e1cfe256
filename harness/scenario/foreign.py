"""What a peer description says: a program of any project as host or client of a live case (a *command peer*).

A description is a small YAML file beside the scenarios: an argument list with placeholders, by what its readiness is
seen, how it is stopped, where a coded stream or statistics of its own appear, and what it cannot do. It holds no code
and builds nothing. ``harness.peers.command`` runs it; ``scenarios/peers/peer.schema.json`` is its JSON schema.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator

from harness.scenario import document
from harness.scenario.diagnostics import Problem, did_you_mean, scenario_error
from harness.scenario.link import MAX_INTEGER, MisfitError, Model
from harness.scenario.peer_names import FOLDER, OURS, known_names
from harness.scenario.protocols import DEFAULT, ProtocolName
from harness.scenario.validation import problems_of
from punktfunk.errors import ScenarioError
from punktfunk.printable import printable
from punktfunk.units import Duration

MAX_WORDS: Final = 200
"""Of an argument list."""
MAX_PEER_PORTS: Final = 64
MAX_WAIT: Final = Duration.parse("120 s")
"""Of any time that a description gives its program."""

PLACEHOLDERS: Final[dict[str, str]] = {
    "address": "IPv4 address of the host",
    "port": "the host's control port: 9777 of punktfunk/1, 47989 of gamestream",
    "mode": "`1280x720@60`",
    "width": "of the mode",
    "height": "of the mode",
    "fps": "of the mode, a whole number",
    "other_mode": "the mode that an event changes to",
    "other_width": "of that mode",
    "other_height": "of that mode",
    "change_s": "whole seconds into the stream at which it changes",
    "codec": "`h264`, `hevc` or `av1`",
    "bitrate_kbps": "target of the encoder",
    "fec": "recovery packets in percent of data packets",
    "seconds": "of the stream, rounded up",
    "frames": "of the stream",
    "pin": "PIN to pair by; only while pairing",
    "fingerprint": "of the host's certificate, SHA-256 in hex, where the host shows it",
    "state": "private folder of this peer in this case; also its HOME",
    "dump": "file for the coded video that the client receives",
    "test": "name of the scenario's layer",
    "python": "the Python that runs the harness",
}
"""What may stand in braces in an argument; a brace itself is written twice."""

Occasion = Literal["open", "pairing", "mode-change", "unencrypted", "punktfunk/1", "gamestream"]
"""When further arguments are given."""


def _known_placeholders(text: str) -> str:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"'{printable(text, 60)}': {error}; a brace itself is written twice") from error
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if spec or conversion or name not in PLACEHOLDERS:
            hint = did_you_mean(name, PLACEHOLDERS, otherwise=f"known: {', '.join(PLACEHOLDERS)}")
            raise MisfitError("", f"'{{{printable(name, 60)}}}' is no placeholder", hint)
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"'{printable(text, 60)}' is no regular expression: {error}") from error
    return text


def _bounded(value: Duration) -> Duration:
    if not 0 < value.ns <= MAX_WAIT.ns:
        raise ValueError(f"{value} is out of range: more than 0 s, at most {MAX_WAIT}")
    return value


Argument = Annotated[str, Field(max_length=4000), AfterValidator(_known_placeholders)]
Arguments = Annotated[list[Argument], Field(min_length=1, max_length=MAX_WORDS)]
Pattern = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_pattern)]
Wait = Annotated[Duration, AfterValidator(_bounded)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class Readiness(Model):
    """By what it is seen that a peer is ready: a host that listens, a client whose stream runs."""

    line: Pattern | None = Field(
        default=None, description="A regular expression that a line of its output matches."
    )
    listens: Literal["udp", "tcp"] | None = Field(
        default=None, description="A host: its control port is bound."
    )
    packets: Annotated[int, Field(ge=1, le=MAX_INTEGER)] | None = Field(
        default=None, description="A client: so many packets of the stream have reached it."
    )
    within: Wait = Field(default=Duration.parse("60 s"), description="It counts as failed after this.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(way is not None for way in (self.line, self.listens, self.packets)) != 1:
            raise ValueError("give exactly one of line, listens and packets")
        return self


class Stopping(Model):
    """How a peer is asked to end; what is left of its process tree is killed afterwards."""

    signal: Literal["TERM", "INT", "HUP", "QUIT", "KILL"] = Field(
        default="TERM", description="Sent to the program."
    )
    patience: Wait = Field(
        default=Duration.parse("5 s"), description="SIGKILL for its whole tree after this."
    )


class Pairing(Model):
    """How it is paired by a PIN. punktfunk/1: the host shows it; gamestream: the client does."""

    shows: Pattern | None = Field(
        default=None,
        description="A host that shows the PIN: the line of its output, with a group `pin`.",
    )
    enter: Arguments | None = Field(
        default=None,
        description="A host that takes the PIN: the command that enters `{pin}`; status 0: taken.",
    )
    pair: Arguments | None = Field(
        default=None, description="A client: the command that pairs by `{pin}`; status 0: paired."
    )
    paired: Pattern | None = Field(
        default=None,
        description="A client whose command ends with status 0 in any case: the line that says that it paired.",
    )
    within: Wait = Field(default=Duration.parse("60 s"), description="A pairing counts as failed after this.")

    @model_validator(mode="after")
    def _group(self) -> Self:
        if self.shows is not None and "pin" not in re.compile(self.shows).groupindex:
            raise MisfitError("shows", "shows wants a group named pin", "such as (?P<pin>[0-9]{4})")
        return self


class Dump(Model):
    """Where a client leaves the coded video that it receives, for the frame markers in its pictures."""

    path: Argument = Field(default="{dump}", description="Path of the file.")
    format: Literal["access-units", "container"] = Field(
        default="access-units", description="Bare coded video (Annex B, OBUs), or a file with a container."
    )


TOLD: Final = ("frames", "frames_expected", "frames_corrupt", "frames_lost", "packets_lost", "recovered")
"""Groups of a statistics line: what a program may tell of itself."""


class Statistics(Model):
    """A line of its output that holds statistics of its own; the last one that matches counts."""

    line: Pattern = Field(
        description=f"A regular expression with named groups out of {', '.join(f'`{name}`' for name in TOLD)}."
    )

    @model_validator(mode="after")
    def _groups(self) -> Self:
        names = re.compile(self.line).groupindex
        unknown = [name for name in names if name not in TOLD]
        if unknown or not names:
            found = f"unknown group '{unknown[0]}'" if unknown else "no named group"
            raise MisfitError("line", found, f"known groups: {', '.join(TOLD)}")
        return self


class PeerDescription(Model):
    """A program of any project as one end of a live case: how it is started, observed and stopped."""

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=60)] = Field(
        description="What reports call it, with its release."
    )
    role: Literal["host", "client"]
    protocols: Annotated[list[ProtocolName], Field(min_length=1, max_length=8)] = Field(
        default_factory=lambda: [DEFAULT], description="The wires that it speaks."
    )
    about: Annotated[str, Field(max_length=2000)] = Field(
        default="", description="Where the program comes from; shown where it is missing."
    )
    command: Arguments = Field(description="Program and arguments. The program is looked up on PATH.")
    when: dict[Occasion, Arguments] = Field(
        default_factory=dict,
        description="Further arguments: `open` where the host lets everybody in, `pairing` where it takes PINs, "
        "`mode-change` where an event changes the mode, `unencrypted` where the stream is not to be sealed, "
        "`punktfunk/1` and `gamestream` where that is the wire.",
    )
    environment: Annotated[dict[str, Argument], Field(max_length=100)] = Field(
        default_factory=dict, description="Variables beside those of the harness."
    )
    ready: Readiness
    stop: Stopping = Field(default_factory=Stopping)
    ends: Literal["itself", "with-peer", "never"] = Field(
        default="with-peer",
        description="When it ends: after `{seconds}` or `{frames}`, when the other end has gone, or only when stopped.",
    )
    ports: Annotated[list[Port], Field(max_length=MAX_PEER_PORTS)] = Field(
        default_factory=list,
        description="A host's UDP ports of the stream, where they are not those that the protocol's own host has.",
    )
    markers: bool = Field(
        default=False, description="A host: it streams the test card, whose pictures carry frame markers."
    )
    synthetic: bool = Field(
        default=False,
        description="A host: it streams the numbered frames of the synthetic source, which are no pictures.",
    )
    pairing: Pairing | None = None
    dump: Dump | None = None
    statistics: Statistics | None = None
    fingerprint: Pattern | None = Field(
        default=None,
        description="A host: the line that shows the fingerprint of its certificate, with a group `fingerprint`.",
    )
    secrets: Annotated[list[Pattern], Field(max_length=20)] = Field(
        default_factory=list, description="What its output shows that logs and reports are not to hold."
    )
    refuses: Pattern | None = Field(
        default=None,
        description="A line that says that it cannot do what was asked: unsupported, as is exit status 127.",
    )
    incomplete: Pattern | None = Field(
        default=None,
        description="A client that counts missing frames as a failure of its own: the line that says so. "
        "Over a link that loses packets it is none.",
    )
    cannot: Annotated[
        dict[str, Annotated[str, Field(min_length=1, max_length=300)]], Field(max_length=100)
    ] = Field(default_factory=dict, description="Layers that it is not asked to run, each with the reason.")

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        first = {name for _, name, _, _ in string.Formatter().parse(self.command[0]) if name}
        if first - {"python"}:
            raise MisfitError("command", "a program is named by its name or path, or is {python}")
        wrong: dict[str, bool] = {
            "ports": self.role == "client" and bool(self.ports),
            "markers": self.role == "client" and self.markers,
            "synthetic": self.role == "client" and self.synthetic,
            "fingerprint": self.role == "client" and self.fingerprint is not None,
            "dump": self.role == "host" and self.dump is not None,
            "incomplete": self.role == "host" and self.incomplete is not None,
        }
        for key, bad in wrong.items():
            if bad:
                raise MisfitError(key, f"a {self.role} has no {key}:")
        if self.role == "client" and self.ready.listens:
            raise MisfitError("ready", "a client does not listen", "use line: or packets:")
        if self.role == "host" and self.ready.packets:
            raise MisfitError("ready", "a host receives no stream", "use line: or listens:")
        if self.markers and self.synthetic:
            raise MisfitError(
                "synthetic", "frames of the synthetic source have no markers", "give one of both"
            )
        if self.fingerprint is not None and "fingerprint" not in re.compile(self.fingerprint).groupindex:
            raise MisfitError("fingerprint", "fingerprint wants a group named fingerprint")
        pins = self.pairing
        if pins and self.role == "client" and (pins.shows or pins.enter):
            raise MisfitError("pairing", "a client has pair:, which pairs by {pin}")
        if pins and self.role == "host" and (pins.pair or pins.paired):
            raise MisfitError("pairing", "a host has shows: or enter:")
        return self

    def placeholders(self) -> set[str]:
        """Return the names of all placeholders that it uses."""
        lists = [self.command, *self.when.values()]
        if self.pairing:
            lists += [words for words in (self.pairing.enter, self.pairing.pair) if words]
        words = [*(word for each in lists for word in each), *self.environment.values()]
        return {name for word in words for _, name, _, _ in string.Formatter().parse(word) if name}


def fill(words: Iterable[str], values: Mapping[str, object]) -> list[str]:
    """Return arguments with their placeholders replaced; raise ScenarioError for a value that there is not here."""
    try:
        return [string.Formatter().vformat(word, (), values) for word in words]
    except KeyError as error:
        raise ScenarioError(
            f"the placeholder {{{error.args[0]}}} has no value here", "see docs/how-to/add-a-peer.md"
        ) from error


def load(path: Path) -> PeerDescription:
    """Read a description; raise ScenarioError that shows everything that is wrong with the file."""
    problems: list[Problem] = []
    tree = document.parse(path, problems, what="a peer description")
    if tree is None or problems:
        raise scenario_error(problems)
    try:
        return PeerDescription.model_validate(tree.plain())
    except ValidationError as error:
        raise scenario_error(problems_of(error, PeerDescription, tree)) from error


def _chosen(value: object) -> object:
    """Turn what a scenario says of an end into ``ours`` or a description: a name, or the path of a file."""
    if value == OURS or isinstance(value, PeerDescription):
        return value
    if not isinstance(value, str):
        raise ValueError("a peer is named by a text")  # noqa: TRY004 - pydantic reports a ValueError in its place
    path = Path(value)
    try:
        found = path.is_file()
    except (OSError, ValueError):  # no name of a file: too long, or with characters that none has
        found = False
    if not found:
        names = [OURS, *known_names(path.parent.parent)] if path.parent.name == FOLDER else [OURS]
        shown = printable(path.stem if path.parent.name == FOLDER else path.name, 60)
        raise MisfitError(
            "",
            f"there is no peer '{shown}'",
            did_you_mean(
                shown, names, otherwise=f"known here: {', '.join(names)}, or the path of a .yaml file"
            ),
        )
    try:
        return load(path)
    except ScenarioError as error:
        raise ValueError(" · ".join(error.cause.splitlines()[1:2]) or error.cause) from error


PeerChoice = Annotated[
    Literal["ours"] | PeerDescription,
    BeforeValidator(_chosen),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "examples": [OURS, "punktfunk-serve", "my-client.yaml"],
        }
    ),
]
"""What stands at one end: ours, the name of a description in ``peers/`` beside the scenario, or a file's path."""
