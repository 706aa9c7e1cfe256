"""Quantities with their units: parsed once at the edge, exact and typed from then on.

Every type is frozen, ordered where order means something, and holds an integer number of its base unit
(bit/s, ns, bytes, px, Hz) or, for shares of a whole, the float nearest to the decimal that was written.
``parse`` takes text or an instance and raises :class:`~punktfunk.errors.UnitError`; ``str`` gives a short
text that parses back to the same value. Prefixes are SI (k = 1000); DataSize also knows the IEC ones
(Ki = 1024).

The types can be used as field types of pydantic models: they validate from text and serialise to text.
"""

from __future__ import annotations

import difflib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, ClassVar, Self

from punktfunk.errors import UnitError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

_NUMBER_AND_UNIT = re.compile(r"\s*([+-]?[0-9][0-9_]*(?:\.[0-9]+)?|[+-]?\.[0-9]+)\s*([^\s0-9].*?)?\s*")
_INTEGER_LIMIT = 2**63
"""Every quantity fits an i64, as the native core and the frame records hold it."""


class Quantity(ABC):
    """What all quantities share: ``parse`` and the way into pydantic models."""

    __slots__ = ()

    _json_schema: ClassVar[Mapping[str, Any]] = {"type": "string"}

    @classmethod
    @abstractmethod
    def parse(cls, value: object) -> Self:
        """Read ``value`` (text, or an instance, which is returned); raise UnitError with a hint."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema(when_used="json")
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(cls._json_schema)


def _split(text: str, what: str, example: str) -> tuple[Decimal, str]:
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None:
        raise UnitError(f"{text!r} is not a {what}", f"write a number and a unit, such as {example!r}")
    try:
        number = Decimal(match[1].replace("_", ""))
    except InvalidOperation as error:  # pragma: no cover - the pattern only lets decimals through
        raise UnitError(f"{text!r} is not a {what}", f"write it as {example!r}") from error
    return number, match[2] or ""


def _scaled(value: object, what: str, units: Mapping[str, int], base_unit: str, example: str) -> int:
    """Return ``value`` as an exact, non-negative number of the base unit; a bare 0 needs no unit."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnitError(f"{value!r} is not a {what}", f"write text such as {example!r}")
    number, unit = _split(value if isinstance(value, str) else repr(value), what, example)
    if unit == "":
        if number == 0:
            return 0
        raise UnitError(f"{what} {value!r} has no unit", f"say the unit, such as {example!r}")
    scale = units.get(unit)
    if scale is None:
        raise UnitError(f"{unit!r} is not a unit of {what}", _unit_hint(unit, units))
    if number < 0:
        raise UnitError(f"{what} {value!r} is negative", f"write a {what} of 0 or more, such as {example!r}")
    scaled = number * scale
    if scaled != scaled.to_integral_value():
        raise UnitError(f"{what} {value!r} is finer than 1 {base_unit}", f"round it to whole {base_unit}")
    if scaled >= _INTEGER_LIMIT:
        raise UnitError(f"{what} {value!r} is too large", f"the most is {_INTEGER_LIMIT - 1} {base_unit}")
    return int(scaled)


def _unit_hint(unit: str, units: Mapping[str, int]) -> str:
    same_letters = [known for known in units if known.lower() == unit.lower()]
    near = same_letters or difflib.get_close_matches(unit, units, n=1, cutoff=0.6)
    known = ", ".join(units)
    return f"did you mean {near[0]!r}? units are {known}" if near else f"units are {known}"


def _shortest(value: int, units: Mapping[str, int]) -> str:
    """Write ``value`` in the largest unit of ``units`` that needs no digit beyond three after the point."""
    for unit, scale in sorted(units.items(), key=lambda item: -item[1]):
        if value >= scale and (value * 1000) % scale == 0:
            return f"{(Decimal(value) / scale).normalize():f} {unit}"
    return f"{value} {min(units, key=lambda unit: units[unit])}"


@dataclass(frozen=True, slots=True, order=True)
class Bitrate(Quantity):
    """A data rate, exact in bit/s: ``Bitrate.parse("10 Mbit/s")``. SI prefixes: 1 kbit/s = 1000 bit/s."""

    bits_per_second: int

    _units: ClassVar[Mapping[str, int]] = {"bit/s": 1, "kbit/s": 10**3, "Mbit/s": 10**6, "Gbit/s": 10**9}
    _aliases: ClassVar[Mapping[str, int]] = {"bps": 1, "kbps": 10**3, "Mbps": 10**6, "Gbps": 10**9}
    _json_schema: ClassVar[Mapping[str, Any]] = {
        "type": "string",
        "pattern": r"^\s*[0-9][0-9_]*(\.[0-9]+)?\s*([kMG]?bit/s|[kMG]?bps)\s*$",
        "examples": ["10 Mbit/s", "500 kbit/s"],
    }

    def __post_init__(self) -> None:
        _check_integer(self.bits_per_second, "bitrate")

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``"10 Mbit/s"`` or ``"10 Mbps"``. Rates in bytes are refused: network rates are bits."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and re.search(r"[kKMG]i?B/s", value):
            raise UnitError(f"bitrate {value!r} counts bytes", "multiply by 8 and write it as '80 Mbit/s'")
        return cls(_scaled(value, "bitrate", {**cls._units, **cls._aliases}, "bit/s", "10 Mbit/s"))

    @classmethod
    def from_kbps(cls, kbps: int) -> Self:
        """Make a rate of ``kbps`` × 1000 bit/s, as the control messages carry it."""
        return cls(kbps * 1000)

    @property
    def kbps(self) -> int:
        """The rate in kbit/s, rounded to the nearest, as the wire and the native core take it."""
        return (self.bits_per_second + 500) // 1000

    def bytes_in(self, duration: Duration) -> int:
        """Return how many whole bytes pass in ``duration`` at this rate."""
        return self.bits_per_second * duration.ns // (8 * 10**9)

    def __str__(self) -> str:
        return _shortest(self.bits_per_second, self._units)


@dataclass(frozen=True, slots=True, order=True)
class Duration(Quantity):
    """A span of time, exact in nanoseconds: ``Duration.parse("150 us")``."""

    ns: int

    _units: ClassVar[Mapping[str, int]] = {
        "ns": 1,
        "us": 10**3,
        "ms": 10**6,
        "s": 10**9,
        "min": 60 * 10**9,
        "h": 3600 * 10**9,
    }
    _json_schema: ClassVar[Mapping[str, Any]] = {
        "type": ["string", "integer"],
        "pattern": r"^\s*([0-9][0-9_]*(\.[0-9]+)?\s*(ns|us|µs|μs|ms|s|min|h)|0)\s*$",
        "maximum": 0,
        "minimum": 0,
        "examples": ["20 s", "5 ms", "150 us", "2 min"],
    }

    def __post_init__(self) -> None:
        _check_integer(self.ns, "duration")

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``"20 s"``, ``"5 ms"``, ``"150 us"`` (or µs), ``"2 min"``; a bare 0 needs no unit."""
        if isinstance(value, cls):
            return value
        units = {**cls._units, "µs": 10**3, "μs": 10**3}  # micro sign U+00B5 and Greek mu U+03BC
        return cls(_scaled(value, "duration", units, "ns", "20 ms"))

    @property
    def seconds(self) -> float:
        """The span in seconds."""
        return self.ns / 1e9

    @property
    def ms(self) -> float:
        """The span in milliseconds."""
        return self.ns / 1e6

    @property
    def us(self) -> float:
        """The span in microseconds."""
        return self.ns / 1e3

    def __str__(self) -> str:
        return _shortest(self.ns, self._units)


@dataclass(frozen=True, slots=True, order=True)
class DataSize(Quantity):
    """An amount of data, exact in bytes: ``DataSize.parse("64 KiB")``, ``"1.5 MB"``, ``"100 B"``."""

    bytes: int

    _units: ClassVar[Mapping[str, int]] = {
        "B": 1,
        "kB": 10**3,
        "KiB": 2**10,
        "MB": 10**6,
        "MiB": 2**20,
        "GB": 10**9,
        "GiB": 2**30,
    }
    _json_schema: ClassVar[Mapping[str, Any]] = {
        "type": ["string", "integer"],
        "pattern": r"^\s*([0-9][0-9_]*(\.[0-9]+)?\s*(B|kB|KiB|MB|MiB|GB|GiB)|0)\s*$",
        "maximum": 0,
        "minimum": 0,
        "examples": ["64 KiB", "1.5 MB", "1200 B"],
    }

    def __post_init__(self) -> None:
        _check_integer(self.bytes, "data size")

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``"64 KiB"`` (1024) or ``"64 kB"`` (1000); a bare 0 needs no unit."""
        if isinstance(value, cls):
            return value
        return cls(_scaled(value, "data size", cls._units, "B", "64 KiB"))

    def __str__(self) -> str:
        return _shortest(self.bytes, self._units)


def _check_integer(value: object, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _INTEGER_LIMIT:
        raise UnitError(f"{what} of {value!r} base units is not a whole number from 0 to 2^63-1")


def _share(value: object, what: str, example: str) -> tuple[Decimal, bool]:
    """Return the number that was written and whether a percent sign followed it."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnitError(f"{value!r} is not a {what}", f"write {example}")
    text = value if isinstance(value, str) else format(Decimal(repr(value)), "f")
    number, unit = _split(text, what, example)
    if unit not in {"", "%"}:
        raise UnitError(f"{unit!r} is not a unit of {what}", f"write {example}")
    return number, unit == "%"


def _finite(value: object, what: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UnitError(f"{value!r} is not a {what}", "write a finite number")


@dataclass(frozen=True, slots=True, order=True)
class Probability(Quantity):
    """A chance from 0 to 1: ``Probability.parse("2 %")`` equals ``Probability.parse(0.02)``."""

    value: float

    _json_schema: ClassVar[Mapping[str, Any]] = {
        "anyOf": [
            {"type": "number", "minimum": 0, "maximum": 1},
            {"type": "string", "pattern": r"^\s*[0-9.][0-9_]*(\.[0-9]+)?\s*%?\s*$"},
        ],
        "examples": ["2 %", 0.02],
    }

    def __post_init__(self) -> None:
        if not 0.0 <= self.value <= 1.0:  # also refuses NaN
            raise UnitError(
                f"probability {self.value!r} is not from 0 to 1",
                "write a percentage as '2 %' or a share as 0.02",
            )

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``"2 %"``, ``"0.02"`` or ``0.02``; a number without a percent sign is a share of 1."""
        if isinstance(value, cls):
            return value
        _finite(value, "probability")
        number, percent = _share(value, "probability", "'2 %' or 0.02")
        share = number / 100 if percent else number
        if not 0 <= share <= 1:
            hint = f"for {number} per cent write '{number} %'" if 1 < number <= 100 else "write 0 % to 100 %"
            raise UnitError(f"probability {value!r} is not from 0 to 1", hint)
        return cls(float(share))

    @property
    def percent(self) -> float:
        """The chance in per cent."""
        return float(Decimal(repr(self.value)) * 100)

    def __str__(self) -> str:
        return f"{(Decimal(repr(self.value)) * 100).normalize():f} %"


@dataclass(frozen=True, slots=True, order=True)
class Percent(Quantity):
    """A proportion in per cent that may pass 100: ``Percent.parse("20 %")`` equals ``Percent.parse(20)``.

    FEC overhead and tolerances are proportions; chances are :class:`Probability`.
    """

    value: float

    _json_schema: ClassVar[Mapping[str, Any]] = {
        "anyOf": [
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": r"^\s*[0-9.][0-9_]*(\.[0-9]+)?\s*%?\s*$"},
        ],
        "examples": ["20 %", 20],
    }

    def __post_init__(self) -> None:
        if not 0.0 <= self.value < float("inf"):
            raise UnitError(f"percentage {self.value!r} is not 0 or more", "write it as '20 %'")

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``"20 %"``, ``"20"`` or ``20``; a number without a percent sign is per cent, too."""
        if isinstance(value, cls):
            return value
        _finite(value, "percentage")
        number, _ = _share(value, "percentage", "'20 %'")
        if number < 0:
            raise UnitError(f"percentage {value!r} is negative", "write it as '20 %'")
        return cls(float(number))

    @property
    def fraction(self) -> float:
        """The proportion as a share of 1."""
        return float(Decimal(repr(self.value)) / 100)

    def __str__(self) -> str:
        return f"{Decimal(repr(self.value)).normalize():f} %"


_RESOLUTION = re.compile(r"\s*([0-9]{1,5})\s*[x×]\s*([0-9]{1,5})\s*")
_MODE = re.compile(r"(.*)@\s*([0-9]{1,4})\s*(?:Hz)?\s*")
MIN_DIMENSION, MAX_DIMENSION = 2, 8192
"""Picture sizes a host accepts: even, 2 to 8192 in each direction (punktfunk/1 section 2.3.6)."""
MAX_REFRESH_HZ = 1000


@dataclass(frozen=True, slots=True)
class Resolution(Quantity):
    """A picture size in pixels: ``Resolution.parse("1280x720")``. Even, 2 to 8192 in each direction."""

    width: int
    height: int

    _json_schema: ClassVar[Mapping[str, Any]] = {
        "type": "string",
        "pattern": r"^\s*[0-9]+\s*[x×]\s*[0-9]+\s*$",
        "examples": ["1280x720", "1920x1080"],
    }

    def __post_init__(self) -> None:
        for name, pixels in (("width", self.width), ("height", self.height)):
            if pixels % 2 or not MIN_DIMENSION <= pixels <= MAX_DIMENSION:
                raise UnitError(
                    f"{name} {pixels} is not an even number from {MIN_DIMENSION} to {MAX_DIMENSION}",
                    "4:2:0 video needs even sizes; take the nearest, such as 1280x720",
                )

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``"1280x720"``."""
        if isinstance(value, cls):
            return value
        match = _RESOLUTION.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise UnitError(f"{value!r} is not a resolution", "write width x height, such as '1280x720'")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Mode(Quantity):
    """A video mode, picture size and frames per second: ``Mode.parse("1280x720@60")``."""

    width: int
    height: int
    refresh_hz: int

    _json_schema: ClassVar[Mapping[str, Any]] = {
        "type": "string",
        "pattern": r"^\s*[0-9]+\s*[x×]\s*[0-9]+\s*@\s*[0-9]+\s*(Hz)?\s*$",
        "examples": ["1280x720@60", "1920x1080@120"],
    }

    def __post_init__(self) -> None:
        Resolution(self.width, self.height)
        if not 1 <= self.refresh_hz <= MAX_REFRESH_HZ:
            raise UnitError(
                f"{self.refresh_hz} frames per second is not from 1 to {MAX_REFRESH_HZ}", "such as '@60'"
            )

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``"1280x720@60"`` (``@60Hz`` works too)."""
        if isinstance(value, cls):
            return value
        match = _MODE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise UnitError(
                f"{value!r} is not a video mode", "write width x height @ frames per second: '1280x720@60'"
            )
        resolution = Resolution.parse(match[1])
        return cls(resolution.width, resolution.height, int(match[2]))

    @property
    def resolution(self) -> Resolution:
        """The picture size."""
        return Resolution(self.width, self.height)

    @property
    def frame_interval(self) -> Duration:
        """The time between two frames, rounded to the nearest nanosecond."""
        return Duration((10**9 + self.refresh_hz // 2) // self.refresh_hz)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}@{self.refresh_hz}"
