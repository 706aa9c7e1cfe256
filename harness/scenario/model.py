"""What a scenario says: the models that a file is validated against.

A file is a :class:`Scenario`; each of its cases is a :class:`Session`. Quantities are written with their unit
(``20 ms``, ``2 %``, ``10 Mbit/s``, ``64 KiB``) and are the types of ``punktfunk.units`` from here on.

A key is handed over to the programs in ``harness/peers`` (``host``, ``client``, ``simulated``); what the simulation
cannot do is said in :meth:`Session.sim_obstacle`.

The models know nothing of YAML, files or positions; ``harness.scenario.expand`` turns files into cases.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from harness.scenario.foreign import PeerChoice, PeerDescription
from harness.scenario.frame_sizes import MAX_FRAME_BYTES, FrameBytes
from harness.scenario.link import (
    MAX_INTEGER,
    Backend,
    Link,
    LinkSpec,
    MisfitError,
    Model,
    OneOrMore,
    existing_file,
    rate_in_reach,
)
from harness.scenario.peer_names import OURS
from harness.scenario.protocols import DEFAULT, PROTOCOLS, ProtocolName
from punktfunk.core._core import LinkModel, StreamConfig, recovery_shards
from punktfunk.errors import InvalidConfigError
from punktfunk.host.stream.adaptive_fec import MAX_FEC_PERCENT
from punktfunk.native.control import MAX_SHARD_BYTES
from punktfunk.printable import printable
from punktfunk.units import Bitrate, DataSize, Duration, Mode, Percent, Probability

SCHEMA_VERSION = 1
"""Version of the scenario format. A file without ``schema_version`` is of this version."""


class Pacing(Model):
    """How the sender spreads a frame's packets: a burst at once, the rest at the higher of two rates."""

    burst: Annotated[int, Field(ge=1, le=65_535)] = Field(
        default=32, description="Packets that leave at once."
    )
    per_ms: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=100, description="Packets per millisecond after the burst, at least."
    )
    rate_factor: float = Field(
        default=1.25, ge=1.0, le=100.0, description="Times the session's rate, at least."
    )


class Stream(Model):
    """The data plane of one stream (punktfunk/1 section 4)."""

    scheme: Literal["gf8", "gf16"] = Field(
        default="gf16", description="Erasure code: GF(2^8) Cauchy or GF(2^16) Leopard."
    )
    fec: Percent = Field(
        default=Percent(20.0),
        description="Recovery shards per 100 data shards; at least one where this is above 0.",
    )
    adaptive_fec: bool = Field(
        default=False,
        description="Let FEC follow the loss that the client reports, above ``fec`` and up to 50 %.",
    )
    shard: DataSize = Field(
        default=DataSize(1200),
        description=f"Bytes of a shard: even, at most {MAX_SHARD_BYTES}; over a real link 1408, unencrypted 1432.",
    )
    block: Annotated[int, Field(ge=1, le=32_768)] = Field(
        default=4096, description="Data shards of a block, at most."
    )
    encryption: bool = Field(default=True, description="Seal every packet with AES-128-GCM.")
    reorder_window: Duration = Field(
        default=Duration(20_000_000), description="How long a complete frame waits for an earlier one."
    )
    hold_undecodable: bool = Field(
        default=True, description="Hold frames whose references are lost until the next key frame."
    )
    recovery: bool = Field(default=True, description="Lost frames make the client ask for a key frame.")
    queue_frames: Annotated[int, Field(ge=1, le=65_535)] = Field(
        default=8,
        description="Frames in the sender's queue before the oldest is dropped; virtual time has no such queue.",
    )
    pacing: Pacing = Field(default_factory=Pacing)
    gso: bool = Field(
        default=True, description="Hand packet trains to the kernel (UDP_SEGMENT) where it can."
    )
    sabotage: Literal["one_recovery_short"] | None = Field(
        default=None,
        description="Break the codec on purpose (sim only), so that a check which cannot fail is found out.",
    )

    @model_validator(mode="after")
    def _geometry(self) -> Self:
        shard = self.shard.bytes
        if not 16 <= shard <= MAX_SHARD_BYTES:
            raise MisfitError("shard", f"a shard has 16 B to {MAX_SHARD_BYTES} B, not {shard} B")
        if shard % 2:
            raise MisfitError("shard", f"a shard has an even number of bytes, not {shard}")
        if not self.fec.value.is_integer() or self.fec.value > 255:
            raise MisfitError(
                "fec",
                f"FEC is a whole percentage from 0 % to 255 %, not {self.fec}",
                "it is one byte on the wire",
            )
        if self.adaptive_fec and self.fec_percent > MAX_FEC_PERCENT:
            raise MisfitError(
                "fec", f"FEC that follows loss does so up to {MAX_FEC_PERCENT} %, which is below {self.fec}"
            )
        largest = self.block + recovery_shards(self.block, self.fec_percent)
        if self.scheme == "gf8" and largest > 255:
            raise MisfitError(
                "block",
                f"gf8 carries at most 255 shards a block; block {self.block} with {self.fec} FEC makes "
                f"{largest}",
            )
        try:
            StreamConfig(
                scheme=self.scheme,
                fec_percent=self.fec_percent,
                max_block_shards=self.block,
                shard_bytes=shard,
                reorder_window_ns=self.reorder_window.ns,
            )
        except InvalidConfigError as error:
            raise MisfitError("block", error.cause) from error
        return self

    @property
    def gamestream_packet_size(self) -> int:
        """What a GameStream client announces on a LAN: with encryption, 32 are taken off (gamestream section 7.1)."""
        return 1360 if self.encryption else 1392

    @property
    def fec_percent(self) -> int:
        """FEC as the whole percentage that the wire carries."""
        return int(self.fec.value)


MAX_FRAMES = 10_000_000
"""Of one case: 46 hours at 60 frames per second."""
MAX_SIMULATED_FRAMES = 1 << 22
"""Of one simulation, as the core has it."""
DEFAULT_DURATION = Duration(10 * 10**9)
"""Streaming time where a scenario gives neither frames nor duration."""


class Media(Model):
    """What is streamed: real encoded video, or synthetic access units of given sizes."""

    source: Literal["testcard", "file", "synthetic"] = Field(
        default="synthetic",
        description="Test card with frame marker, a video file, or bytes without an encoder.",
    )
    file: Path | None = Field(default=None, description="Video for source: file, relative to the scenario.")
    mode: Mode = Field(default=Mode(1280, 720, 60), description="Width x height @ frames per second.")
    codec: Literal["h264", "hevc", "av1"] = Field(
        default="h264", description="h264 by x264, hevc by x265, av1 by SVT-AV1."
    )
    bitrate: Annotated[Bitrate, AfterValidator(rate_in_reach)] = Field(
        default=Bitrate(10_000_000), description="Target of the encoder, or of synthetic frame sizes."
    )
    frames: Annotated[int, Field(ge=1, le=MAX_FRAMES)] | None = Field(
        default=None, description="Frames to stream; instead of duration."
    )
    duration: Duration | None = Field(default=None, description="Time to stream; instead of frames.")
    frame_bytes: FrameBytes | None = Field(
        default=None, description="Sizes of synthetic frames; default bitrate / fps."
    )
    key_interval: Annotated[int, Field(ge=0, le=MAX_INTEGER)] | None = Field(
        default=None,
        description="Frames from key to key frame; 0: synthetic frames all are. Default: on demand.",
    )
    content: Literal["classic", "test_frame", "random"] = Field(
        default="test_frame", description="Bytes of synthetic frames."
    )
    entropy: Probability = Field(default=Probability(0.5), description="Texture of the test card.")
    quality: list[Literal["psnr", "ssim"]] = Field(
        default_factory=list, description="Picture quality to measure."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.frames is not None and self.duration is not None:
            raise MisfitError("duration", "frames and duration are both given", "leave one out")
        if self.duration is not None and self.duration.ns == 0:
            raise MisfitError("duration", "a stream of no duration", "write for example '10 s'")
        if self.frame_count > MAX_FRAMES:
            raise MisfitError(
                "duration",
                f"{self.duration} make {self.frame_count} frames; at most {MAX_FRAMES} are streamed",
            )
        if self.source == "file" and self.file is None:
            raise MisfitError("source", "source: file wants file: with the video's path")
        if self.source != "file" and self.file is not None:
            raise MisfitError("file", f"file: goes with source: file, not {self.source}")
        if self.source != "synthetic" and self.frame_bytes is not None:
            raise MisfitError(
                "frame_bytes", f"with source: {self.source} the encoder decides how large frames are"
            )
        if self.source == "synthetic" and self.frame_bytes is None and self._bytes_a_frame > MAX_FRAME_BYTES:
            raise MisfitError(
                "bitrate",
                f"{self.bitrate} at {self.mode} are frames of {self._bytes_a_frame}, over the wire's limit of "
                f"{MAX_FRAME_BYTES}",
            )
        if self.source == "synthetic" and self.quality:
            raise MisfitError("quality", "synthetic frames have no picture")
        return self

    @field_validator("file")
    @classmethod
    def _beside_the_scenario(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        return None if value is None else existing_file(value, info)

    @property
    def fps(self) -> float:
        """Frames per second."""
        return float(self.mode.refresh_hz)

    @property
    def frame_count(self) -> int:
        """Frames of a case."""
        if self.frames is not None:
            return self.frames
        return max(1, round((self.duration or DEFAULT_DURATION).seconds * self.fps))

    @property
    def duration_ns(self) -> int:
        """Streaming time of a case in ns."""
        if self.duration is not None:
            return self.duration.ns
        return round(self.frame_count * 1e9 / self.fps)

    @property
    def sizes(self) -> FrameBytes:
        """Sizes of synthetic frames."""
        return self.frame_bytes or FrameBytes(size=self._bytes_a_frame)

    @property
    def _bytes_a_frame(self) -> DataSize:
        return DataSize(max(1, round(self.bitrate.bits_per_second / 8 / self.fps)))


class Event(Model):
    """Something that happens at a time after the stream's start."""

    at: Duration
    down: LinkSpec | None = Field(default=None, description="Changes of the link, host to client.")
    up: LinkSpec | None = Field(default=None, description="Changes of the link, client to host.")
    bitrate: Bitrate | None = Field(default=None, description="New target of the encoder and the pacer.")
    mode: Mode | None = Field(default=None, description="Mode that the client asks for from now on.")
    kill: Literal["client", "host", "pump"] | None = Field(default=None, description="SIGKILL this process.")

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.model_fields_set <= {"at"}:
            raise ValueError("an event wants down:, up:, bitrate:, mode: or kill:")
        for spec in (self.down, self.up):
            if spec is not None and spec.trace is not None:
                raise ValueError("a trace cannot start at an event; give it to the link")
        return self


_EXPECTATION = re.compile(r"^\s*([a-z][a-z0-9_.]*)\s*(==|!=|<=|>=|<|>)\s*(\S.*?)\s*$")


class Expectation(Model):
    """A comparison of a metric with a value: ``frames_intact == 50``, ``transport_p99 <= 12 ms``."""

    metric: str
    op: Literal["==", "!=", "<=", ">=", "<", ">"]
    value: str = Field(description="A quantity in the metric's dimension, with its unit.")

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        match = _EXPECTATION.match(value)
        if match is None:
            raise ValueError(
                f"{value!r} is not a comparison such as 'frames_lost == 0' or 'transport_p99 <= 12 ms'"
            )
        return {"metric": match[1], "op": match[2], "value": match[3]}

    def __str__(self) -> str:
        return f"{self.metric} {self.op} {self.value}"


_WIDEST_JITTER = 4
"""Spreads of the jitter that hardly a packet is beyond: of 10,000 normal deviates one is."""
Direction = Literal["down", "up"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


class Session(Model):
    """One case: a stream of media over a link, what happens on the way, and what is expected."""

    protocol: ProtocolName = Field(default=DEFAULT, description="The wire that host and client speak.")
    host: PeerChoice = Field(
        default=OURS,
        description="What streams: `ours`, the name of a description in `peers/` beside the scenario, or its path.",
    )
    client: PeerChoice = Field(default=OURS, description="What receives, likewise.")
    pairing: Literal["none", "pin", "prove"] = Field(
        default="none",
        description="`pin`: host and client pair by a PIN first. `prove`: a client that is not paired, and one with a "
        "wrong PIN, are refused before. `none`: the host lets the client in.",
    )
    stream: Stream = Field(default_factory=Stream)
    media: Media = Field(default_factory=Media)
    link: Link = Field(default_factory=Link)
    events: list[Event] = Field(default_factory=list)
    expect: list[Expectation] = Field(default_factory=list)
    theory: bool = Field(
        default=True, description="Compare recovery with theory where the link's loss has one."
    )
    seeds: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1, description="Independent simulations pooled into this case (sim only)."
    )
    optional: bool = Field(
        default=False,
        description="Where this machine cannot run it, that is a note and no failure, also on CI.",
    )
    timeout: Duration | None = Field(
        default=None, description="Give up after this; default three times the case plus 60 s."
    )

    def core_link(self, direction: Direction) -> dict[str, Any]:
        """Return one direction of the link for the core's model, with the changes that events make to it."""
        spec = (self.link.down if direction == "down" else self.link.up).core()
        changes = [
            {"at_ms": event.at.ms, "set": change.core()}
            for event in sorted(self.events, key=lambda event: event.at)
            if (change := event.down if direction == "down" else event.up) is not None
        ]
        return spec | ({"changes": changes} if changes else {})

    def link_states(self, direction: Direction) -> list[dict[str, Any]]:
        """Return what the core's model is told of one direction at the start, by events, and by points of a trace."""
        spec = self.core_link(direction)
        return [spec, *(change["set"] for change in spec.get("changes", ())), *spec.get("trace", ())]

    def longest_delay_ns(self, direction: Direction) -> int:
        """Return what a packet takes at most in one direction, whatever events or a trace change; without queues."""
        states = self.link_states(direction)
        delay_us, jitter_us = (
            max(state.get(key, 0) for state in states) for key in ("delay_us", "jitter_us")
        )
        held_us = max(state.get("reorder", {}).get("extra_us", 0) for state in states)
        return round(float(delay_us + _WIDEST_JITTER * jitter_us + held_us) * 1e3)

    def sim_obstacle(self) -> tuple[str, str] | None:  # noqa: PLR0911 - one return a reason
        """Return the key and the reason why virtual time cannot carry this session; None when it can."""
        if not PROTOCOLS[self.protocol].simulation:
            return "protocol", f"{self.protocol} has no simulation"
        if self.media.source != "synthetic":
            return "media", f"the sim link carries synthetic media, not {self.media.source}"
        if self.media.frame_count > MAX_SIMULATED_FRAMES:
            return (
                "media",
                f"the sim link carries {MAX_SIMULATED_FRAMES} frames a case, not {self.media.frame_count}",
            )
        if any(event.kill for event in self.events):
            return "events", "kill: wants a real process"
        if any(event.bitrate for event in self.events):
            return "events", "bitrate: wants a real encoder"
        if any(event.mode for event in self.events):
            return "events", "mode: wants a real client"
        if self.foreign:
            return next(iter(self.foreign)), "a program runs over a real link alone"
        if self.pairing != "none":
            return "pairing", "pairing: wants real programs"
        if any(event.up for event in self.events) or self.link.up.model_fields_set - {"delay"}:
            return "link", "the sim link has nothing but a delay on the way up"
        if self.link.capture:
            return "link", "there are no packets to capture in the sim link"
        return None

    @property
    def streams_pictures(self) -> bool:
        """Whether what the host streams are pictures of a codec, and not the synthetic source's frames."""
        host = self.foreign.get("host")
        return not host.synthetic if host is not None else self.media.source != "synthetic"

    @property
    def foreign(self) -> dict[Literal["host", "client"], PeerDescription]:
        """The ends at which a described program stands."""
        ends: dict[Literal["host", "client"], object] = {"host": self.host, "client": self.client}
        return {role: peer for role, peer in ends.items() if isinstance(peer, PeerDescription)}

    @model_validator(mode="after")
    def _peers_fit(self) -> Self:
        for role, peer in self.foreign.items():
            if peer.role != role:
                raise MisfitError(role, f"{printable(peer.name)} is a {peer.role}")
            if self.protocol not in peer.protocols:
                raise MisfitError(
                    role,
                    f"{printable(peer.name)} does not speak {self.protocol}",
                    f"it speaks {', '.join(peer.protocols)}",
                )
        return self

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.link.backend is not Backend.SIM:
            if self.seeds > 1:
                raise MisfitError(
                    "seeds", "seeds above 1 want link.backend: sim", "use repeats: for real links"
                )
            if self.stream.sabotage is not None:
                raise MisfitError(
                    "stream", "sabotage wants link.backend: sim", "real links carry real packets only"
                )
        obstacle = self.sim_obstacle() if self.link.backend is Backend.SIM else None
        if obstacle is not None:
            key, cause = obstacle
            raise MisfitError(key, cause, "use link.backend: tun, netem or auto")
        for direction in DIRECTIONS:
            try:
                LinkModel(json.dumps(self.core_link(direction)), 1)
            except InvalidConfigError as error:
                raise MisfitError(
                    "events", error.cause, "do two events change the link at one time?"
                ) from error
        return self


SESSION_KEYS = tuple(Session.model_fields)
"""Keys that a scenario, and each of its layers, shares with a session."""

MAX_NAME_CHARACTERS = 60
"""Of a scenario, a layer or an axis: they become parts of folders' names."""
AXIS_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
LAYER_NAME = re.compile(r"^[a-z0-9][a-z0-9-]*$")
AxisName = Annotated[str, Field(pattern=AXIS_NAME.pattern, max_length=MAX_NAME_CHARACTERS)]
LayerName = Annotated[str, Field(pattern=LAYER_NAME.pattern, max_length=MAX_NAME_CHARACTERS)]
Axis = Annotated[list[Any], Field(min_length=1)]


class Varied(Session):
    """A session with a matrix: ``for`` names axes, ``${axis}`` in any value stands for the axis's value."""

    description: str = ""
    for_: dict[AxisName, Axis] = Field(
        default_factory=dict,
        alias="for",
        description="Axes by name. Values are plain, or mappings that set several names together.",
    )
    repeats: OneOrMore = Field(
        default=1, description="Times that every point runs, each with a seed of its own."
    )


class Layer(Varied):
    """A part of a scenario with a matrix of its own; its keys are merged over the file's (RFC 7396)."""


class Scenario(Varied):
    """A whole file."""

    schema_version: Literal[1] = 1
    name: LayerName | None = Field(default=None, description="Default: the file's name.")
    extends: str | None = Field(
        default=None, description="Another scenario, beside this one, to merge this over."
    )
    seed: Annotated[int, Field(ge=0, lt=2**53)] = Field(
        default=1, description="Every case's seed is derived from this one."
    )
    layers: dict[LayerName, Layer] = Field(
        default_factory=dict, description="Parts with a matrix of their own, run one after another."
    )
