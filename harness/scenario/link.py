"""What a link is asked to be: the models of one direction, and their form for the core's link model.

One model serves all back ends (sim, tun, netem). Everything left out is ideal: no delay, no loss, no limit.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from harness.scenario.traces import TracePoint, read_trace
from punktfunk.core._core import LinkModel
from punktfunk.errors import InvalidConfigError
from punktfunk.printable import printable
from punktfunk.units import Bitrate, DataSize, Duration, Probability

Q = TypeVar("Q", Bitrate, DataSize, Duration)

MAX_INTEGER = 2**32 - 1
"""Of a plain number without a limit of its own: the core holds it in 32 bits."""
OneOrMore = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
MAX_DELAY = Duration.parse("60 s")
"""The core's limit: what waits that long is no link."""
MIN_RATE, MAX_RATE = Bitrate.from_kbps(1), Bitrate.from_kbps(400_000_000)
MAX_QUEUE_PACKETS = 1_000_000
MAX_QUEUE = DataSize(1 << 32)
MAX_OVERHEAD = DataSize(1500)
"""Limits of the core's link model (``emulate/spec.rs``), which refuses what is beyond them."""


def _within(value: Q, least: Q, most: Q) -> Q:
    """Return a quantity; raise ValueError where the link model does not go that far."""
    if value < least:
        raise ValueError(f"{value} is under the link model's least, {least}")
    if value > most:
        raise ValueError(f"{value} is over the link model's limit of {most}")
    return value


class Model(BaseModel):
    """A part of a scenario: unknown keys are errors, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Backend(StrEnum):
    """Where packets travel. ``auto`` picks the first of tun, netem, sim that is here and can carry the case."""

    AUTO = "auto"
    SIM = "sim"
    TUN = "tun"
    NETEM = "netem"


class MisfitError(ValueError):
    """A value that is wrong beside the others of its mapping; ``key`` is the one to point at, "" the value itself."""

    def __init__(self, key: str, cause: str, hint: str = "") -> None:
        super().__init__(cause)
        self.key = key
        self.cause = cause
        self.hint = hint


def existing_file(path: Path, info: ValidationInfo) -> Path:
    """Resolve a path of a scenario against the scenario's folder (validation context ``folder``)."""
    folder = (info.context or {}).get("folder")
    resolved = path if path.is_absolute() or folder is None else Path(folder) / path
    try:
        found, there = resolved.is_file(), resolved.exists()
    except (OSError, ValueError):  # no name of a file: too long, or with characters that none has
        found = there = False
    if not found:
        # pydantic cannot carry a message with a lone surrogate.
        named = printable(str(path))
        beside = f" beside {Path(folder).name}/" if folder else ""
        raise ValueError(f"{named} is no regular file" if there else f"there is no file {named}{beside}")
    return resolved


def rate_in_reach(value: Bitrate) -> Bitrate:
    """Return a rate; raise ValueError where the core does not go that far."""
    return _within(value, MIN_RATE, MAX_RATE)


Delay = Annotated[Duration, AfterValidator(lambda value: _within(value, Duration(0), MAX_DELAY))]

_LOSS_KEYS = {
    "none": set(),
    # burst may stay, so that a matrix can set kind alone.
    "independent": {"rate", "burst"},
    "bursty": {"rate", "burst"},
    "periodic": {"every", "offset"},
    "gilbert_elliott": {"good_to_bad", "bad_to_good", "loss_in_bad", "loss_in_good"},
}


class Loss(Model):
    """How packets get lost: ``2 %``, or one of the keyed forms.

    ``{rate, burst}`` is Gilbert–Elliott with that average rate and mean burst length; ``{every: n}`` drops
    packets ``offset``, ``offset + n`` …; ``{good_to_bad, bad_to_good}`` gives the chain itself.
    """

    kind: Literal["none", "independent", "bursty", "gilbert_elliott", "periodic"] = Field(
        description="Usually left out: the other keys say it."
    )
    rate: Probability | None = None
    burst: Annotated[float, Field(ge=1, le=10_000, description="Mean length of a burst in packets.")] = 4.0
    every: OneOrMore | None = Field(default=None, description="Drop every n-th packet; 'none' drops none.")
    offset: Annotated[int, Field(ge=0, le=MAX_INTEGER)] = 0
    good_to_bad: Probability | None = None
    bad_to_good: Probability | None = None
    loss_in_bad: Probability = Probability(1.0)
    loss_in_good: Probability = Probability(0.0)

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        if value == "none":
            return {"kind": "none"}
        if isinstance(value, str | int | float):
            return {"kind": "independent", "rate": value}
        if isinstance(value, dict) and "kind" not in value:
            if value.get("every") == "none":
                return value | {"kind": "none", "every": None}
            for key, kind in (("every", "periodic"), ("good_to_bad", "gilbert_elliott"), ("burst", "bursty")):
                if key in value:
                    return value | {"kind": kind}
            return value | {"kind": "independent"}
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        stray = sorted(self.model_fields_set - {"kind"} - _LOSS_KEYS[self.kind])
        if stray and self.kind != "none":
            raise MisfitError(
                stray[0], f"{self.kind} loss has no {', '.join(stray)}", "null removes a key of a base"
            )
        if self.kind in {"independent", "bursty"} and self.rate is None:
            raise ValueError(f"{self.kind} loss wants rate:")
        if self.kind == "periodic" and self.every is None:
            raise ValueError("periodic loss wants every:")
        if self.kind == "gilbert_elliott" and (self.good_to_bad is None or self.bad_to_good is None):
            raise ValueError("gilbert_elliott loss wants good_to_bad: and bad_to_good:")
        if self.bad_to_good is not None and self.bad_to_good.value == 0:
            raise MisfitError("bad_to_good", "a bad state with bad_to_good 0 never ends")
        if (
            self.kind == "bursty"
            and self.rate is not None
            and self.rate.value > self.burst / (self.burst + 1)
        ):
            raise MisfitError(
                "rate",
                f"bursts of {self.burst:g} packets cannot average {self.rate}",
                f"at most {100 * self.burst / (self.burst + 1):.3g} %: the gaps last a packet or more",
            )
        return self

    @property
    def average_rate(self) -> float:
        """The rate that was written, 0 where the form has none."""
        return self.rate.value if self.rate else 0.0

    @property
    def average(self) -> float:
        """Long-run fraction of packets that are lost."""
        core = self.core()
        match core["kind"]:
            case "independent":
                return float(core["p"])
            case "periodic":
                return 1.0 / float(core["every"])
            case "gilbert_elliott":
                bad = core["p"] / (core["p"] + core["r"])
                return float(bad * core["bad"] + (1 - bad) * core["good"])
            case _:
                return 0.0

    def core(self) -> dict[str, Any]:
        """Return the ``loss`` object of the core's link model."""
        if self.kind == "none" or (self.kind in {"independent", "bursty"} and self.average_rate == 0):
            return {"kind": "none"}
        if self.kind == "periodic":
            return {"kind": "periodic", "every": self.every, "offset": self.offset}
        if self.kind == "independent":
            return {"kind": "independent", "p": self.average_rate}
        if self.kind == "bursty":
            rate = self.average_rate
            # A burst ends with probability r a packet, so lasts 1/r; p follows from the share p / (p + r).
            r = 1.0 / self.burst
            return {"kind": "gilbert_elliott", "p": r * rate / (1 - rate), "r": r, "bad": 1.0, "good": 0.0}
        assert self.good_to_bad is not None
        assert self.bad_to_good is not None
        return {
            "kind": "gilbert_elliott",
            "p": self.good_to_bad.value,
            "r": self.bad_to_good.value,
            "bad": self.loss_in_bad.value,
            "good": self.loss_in_good.value,
        }


class Jitter(Model):
    """Random delay on top: ``2 ms``, or with a distribution, and whether it may overtake."""

    spread: Delay = Field(description="Scale: uniform ± spread, normal sd, pareto scale.")
    distribution: Literal["uniform", "normal", "pareto"] = "normal"
    reorder: bool = Field(default=False, description="A packet with less jitter may overtake an earlier one.")

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        return {"spread": value} if isinstance(value, str | int | float) else value


class Reorder(Model):
    """Hold some packets back so that later ones overtake them."""

    rate: Probability
    extra: Delay = Field(default=Duration(2_000_000), description="How long such a packet is held back.")

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        return {"rate": value} if isinstance(value, str | int | float) else value


class Corrupt(Model):
    """Flip a bit: where the UDP checksum finds it, or (past the checksum) in the payload."""

    rate: Probability
    mode: Literal["checksum", "payload"] = "checksum"

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        return {"rate": value} if isinstance(value, str | int | float) else value


class Trace(Model):
    """A time series that rate, delay and loss follow: ``file.csv`` or points written out."""

    file: Path | None = Field(
        default=None, description="CSV with at_ms and any of rate_kbps, delay_ms, loss_percent."
    )
    points: list[TracePoint] = Field(default_factory=list)
    repeat: bool = Field(default=True, description="Start over at the end.")

    @model_validator(mode="before")
    @classmethod
    def _load(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, str):
            value = {"file": value}
        if isinstance(value, dict) and "file" in value and not value.get("points"):
            return value | {"points": read_trace(existing_file(Path(str(value["file"])), info))}
        return value

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.points:
            raise ValueError("a trace wants file: or points:")
        return self


class LinkSpec(Model):
    """One direction of a link. Everything left out is ideal: no delay, no loss, no limit."""

    rate: Annotated[Bitrate, AfterValidator(rate_in_reach)] | None = Field(
        default=None, description="Bottleneck rate; packets queue before it."
    )
    queue_packets: Annotated[int, Field(ge=1, le=MAX_QUEUE_PACKETS)] | None = Field(
        default=None, description="Packets the queue holds before it drops at the tail."
    )
    queue_bytes: DataSize | None = Field(default=None, description="Bytes the queue holds.")
    overhead: DataSize = Field(default=DataSize(28), description="Bytes a datagram weighs more on the wire.")
    delay: Delay = Duration(0)
    jitter: Jitter | None = None
    loss: Loss | None = None
    reorder: Reorder | None = None
    duplicate: Probability = Probability(0.0)
    corrupt: Corrupt | None = None
    trace: Trace | None = None

    @field_validator("queue_bytes")
    @classmethod
    def _queue_in_reach(cls, value: DataSize | None) -> DataSize | None:
        return None if value is None else _within(value, DataSize(1), MAX_QUEUE)

    @field_validator("overhead")
    @classmethod
    def _overhead_in_reach(cls, value: DataSize) -> DataSize:
        return _within(value, DataSize(0), MAX_OVERHEAD)

    @model_validator(mode="after")
    def _taken_by_the_link_model(self) -> Self:
        """Let the core judge the whole: whatever it would refuse in the middle of a run is wrong here."""
        try:
            LinkModel(json.dumps(self.core()), 1)
        except InvalidConfigError as error:
            raise ValueError(error.cause) from error
        return self

    def core(self) -> dict[str, Any]:
        """Return the link model's JSON object; only what was set, so that it also serves as a change."""
        given = self.model_fields_set
        spec: dict[str, Any] = {}
        if "rate" in given:
            spec["rate_kbps"] = self.rate.kbps if self.rate else None
        if "queue_packets" in given:
            spec["queue_packets"] = self.queue_packets
        if "queue_bytes" in given:
            spec["queue_bytes"] = self.queue_bytes.bytes if self.queue_bytes else None
        if "overhead" in given:
            spec["overhead_bytes"] = self.overhead.bytes
        if "delay" in given:
            spec["delay_us"] = self.delay.us
        if "jitter" in given:
            jitter = self.jitter or Jitter(spread=Duration(0))
            spec |= {
                "jitter_us": jitter.spread.us,
                "jitter_distribution": jitter.distribution,
                "jitter_reorder": jitter.reorder,
            }
        if "loss" in given:
            spec["loss"] = self.loss.core() if self.loss else {"kind": "none"}
        if "reorder" in given:
            spec["reorder"] = {
                "p": self.reorder.rate.value if self.reorder else 0.0,
                "extra_us": self.reorder.extra.us if self.reorder else 0.0,
            }
        if "duplicate" in given:
            spec["duplicate"] = self.duplicate.value
        if "corrupt" in given:
            spec["corrupt"] = self.corrupt.rate.value if self.corrupt else 0.0
            spec["corrupt_mode"] = self.corrupt.mode if self.corrupt else "checksum"
        if self.trace is not None:
            spec["trace"] = [point.core() for point in self.trace.points]
            spec["trace_repeat"] = self.trace.repeat
        return spec


class Link(Model):
    """Both directions and what carries them: ``down`` is host to client, ``up`` client to host."""

    backend: Backend = Backend.AUTO
    down: LinkSpec = Field(default_factory=LinkSpec)
    up: LinkSpec = Field(default_factory=LinkSpec)
    capture: bool = Field(
        default=False, description="Keep a pcapng of the receiver's side in the case's folder (not in sim)."
    )
