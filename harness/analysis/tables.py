"""The tables that results are analysed as: every column with its unit, type and meaning.

The one list that ``harness.load``, the data set's Parquet files and the reference page share. A row of any table
belongs to a case of a run, named by its first two columns. What was not measured is absent (``NaN``, ``<NA>``),
never 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from harness.analysis import stages
from harness.analysis.definitions import METRICS, STRIP

if TYPE_CHECKING:
    import pyarrow as pa


class Kind(StrEnum):
    """What a column holds; the value is the dtype that pandas gives it."""

    NAME = "category"
    """One of few texts."""
    TEXT = "string"
    INTEGER = "Int64"
    """Whole numbers that may be absent, exact up to 2^63: stamps in ns would not fit a float."""
    NUMBER = "float64"
    FLAG = "boolean"
    TIME = "datetime64[us, UTC]"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind
    unit: str
    """As in ``definitions``; "" for names, flags and plain numbers."""
    description: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of results."""

    name: str
    row: str
    """What a row stands for."""
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in their order."""
        return tuple(column.name for column in self.columns)

    def schema(self) -> pa.Schema:
        """Return the table's schema in Arrow."""
        import pyarrow as pa

        types = {
            Kind.NAME: pa.dictionary(pa.int32(), pa.string()),
            Kind.TEXT: pa.string(),
            Kind.INTEGER: pa.int64(),
            Kind.NUMBER: pa.float64(),
            Kind.FLAG: pa.bool_(),
            Kind.TIME: pa.timestamp("us", "UTC"),
        }
        return pa.schema([(column.name, types[column.kind]) for column in self.columns])


Cases: TypeAlias = frozenset[tuple[str, str]]
"""Run and case of each case that is wanted."""

AXIS: Final = "axis_"
"""Prefix of the columns of ``cases`` that a scenario's axes make."""
STAGE_SUFFIX: Final = "_ms"

HOST_STATUS: Final = ("sent", "dropped")
CLIENT_STATUS: Final = ("complete", "unrecoverable", "expired")
"""Names of the numbers that frame records have in these columns."""

_KINDS: Final = {
    "name": Kind.NAME,
    "text": Kind.TEXT,
    "integer": Kind.INTEGER,
    "number": Kind.NUMBER,
    "flag": Kind.FLAG,
    "time": Kind.TIME,
}

# column | kind | unit | meaning
_KEYS: Final = """
run | name |  | id of the run, the name of its folder
case | name |  | id of the case
"""

_CASES: Final = """
scenario | name |  | scenario that the case is of
layer | name |  | layer of the scenario, as the case's id names it
repeat | integer |  | which repeat of the same point it is, from 0
seed | integer |  | seed of the case
protocol | name |  | the wire
host | name |  | program at the host's end; absent in results of version 1
client | name |  | program at the client's end; absent in results of version 1
backend | name |  | link it ran on: sim, tun or netem
status | name |  | how it ended: passed, failed, unsupported, fault or interrupted
reason | text |  | why it did not pass
duration | number | s | time that the case took
digest | text |  | of the deterministic part; equal for equal seed and scenario on a simulated link
checks | integer |  | expectations that were checked
checks_failed | integer |  | expectations that did not hold
started | time | UTC | start of the run
git | name |  | commit that the run was made from, + for changes on top
machine_class | name |  | class of machines whose times compare
kernel | name |  | release of the kernel
quiet | flag |  | whether the machine was quiet; absent in a simulation and in older results
others | number | fraction | share of all CPUs that other processes took meanwhile; absent likewise
params | text | JSON | values of the scenario's axes, from which the columns axis_… are made
theory_recovery | number | fraction | share of complete frames that theory expects
theory_recovery_low | number | fraction | lower end of the band that 95 % of measurements fall into
theory_recovery_high | number | fraction | upper end of that band
theory_p_value | number |  | chance of a measurement as far off as this one, before correction for many cases
"""

_FIGURES: Final = """
metric | name |  | name of the figure
value | number | see unit | the figure
unit | name |  | its unit
better | name |  | which way is better: lower, higher or none
low | number | see unit | lower end of its 95 % interval
high | number | see unit | upper end of its 95 % interval
samples | integer |  | samples behind it
"""

_LINKS: Final = """
direction | name |  | host_to_client or client_to_host
rate | number | kbit/s | bottleneck; absent: none
delay | number | ms | one-way delay
jitter | number | ms | scale of the random delay on top
loss_kind | name |  | none, independent, bursty, periodic or gilbert_elliott
loss | number | fraction | long-run share of packets that are lost
burst | number | packets | mean length of a burst of losses; 1: independent
reorder | number | fraction | share of packets that are held back
duplicate | number | fraction | share of packets that come twice
corrupt | number | fraction | share of packets with a flipped bit
queue_packets | integer | packets | room of the queue before the bottleneck
queue_bytes | integer | bytes | room of that queue
trace | flag |  | whether rate, delay or loss follow a recorded series; the columns hold what the rest says
verified | name |  | how the link was held against what was asked: probe, counters, or absent
probe_findings | integer |  | properties that the probe confirmed
late_p99 | number | ms | how late the link's own timers were, 99th percentile; absent in a simulation
late_max | number | ms | largest such lateness
realtime | flag |  | whether the link ran with real-time priority
"""

_LEDGER: Final = """
direction | name |  | host_to_client or client_to_host
kind | name |  | count, or balance: an equation that must be 0
name | name |  | name of the counter, or the equation
value | integer |  | the count; of a balance its left side minus its right side
"""

_FRAME: Final = """
frame | integer |  | index of the frame on the wire
"""

_FRAMES: Final = """
pts_ns | integer | ns | time of the picture on the wire, CLOCK_MONOTONIC of the host
flags | integer |  | flags of the frame on the wire
bytes | integer | bytes | size of the access unit
k | integer | shards | data shards
m | integer | shards | recovery shards
blocks | integer |  | FEC blocks
packets | integer | packets | packets that the frame was cut into
packets_sent | integer | packets | packets handed to the kernel
host_status | name |  | sent, or dropped from the sender's queue
packets_received | integer | packets | packets that arrived
data_missing | integer | shards | data shards that did not arrive in time
recovered | integer | shards | data shards that FEC recovered
duplicates | integer | packets | copies that arrived again
late | integer | packets | packets after the frame's turn
client_status | name |  | complete, unrecoverable or expired; absent: the client never heard of it
decodable | flag |  | complete, and no reference missing
captured_ns | integer | ns | stamp: the picture was captured
converted_ns | integer | ns | stamp: colour conversion is done
encode_begin_ns | integer | ns | stamp: the encoder begins
encode_end_ns | integer | ns | stamp: the access unit is there
sealed_ns | integer | ns | stamp: cut, protected and encrypted
sent_first_ns | integer | ns | stamp: first packet handed to the kernel
sent_last_ns | integer | ns | stamp: last packet handed to the kernel
recv_first_ns | integer | ns | stamp: first packet received
recv_last_ns | integer | ns | stamp: last packet received
complete_ns | integer | ns | stamp: every byte is there
released_ns | integer | ns | stamp: handed on, in its turn
decode_end_ns | integer | ns | stamp: the picture is decoded
presented_ns | integer | ns | stamp: the picture is on the screen
strip_frame | integer |  | index of the frame that the frame marker in the picture names
strip_time_us | integer | us | time drawn into the picture
strip_tag | integer |  | tag drawn into the picture
psnr | number | dB | PSNR of the decoded picture against the source
ssim | number |  | SSIM of the decoded picture against the source
"""


def _columns(*texts: str) -> tuple[Column, ...]:
    rows = (line.split("|") for text in texts for line in text.strip().splitlines())
    return tuple(
        Column(name.strip(), _KINDS[kind.strip()], unit.strip(), meaning.strip())
        for name, kind, unit, meaning in rows
    )


def _stages() -> tuple[Column, ...]:
    spans = [(span.name, span.description) for span in stages.SPANS]
    spans.append((STRIP, "drawing a picture to its decoded copy, read from the pixels"))
    return tuple(Column(name + STAGE_SUFFIX, Kind.NUMBER, "ms", meaning) for name, meaning in spans)


TABLES: Final[dict[str, Table]] = {
    table.name: table
    for table in (
        Table("cases", "a case", _columns(_KEYS, _CASES)),
        Table("figures", "a figure of a case that was measured", _columns(_KEYS, _FIGURES)),
        Table("frames", "a frame", _columns(_KEYS, _FRAME, _FRAMES)),
        Table("stages", "a frame", (*_columns(_KEYS, _FRAME), *_stages())),
        Table("links", "a direction of a case's link, as it was asked for", _columns(_KEYS, _LINKS)),
        Table("ledger", "a count or a balance of a direction", _columns(_KEYS, _LEDGER)),
    )
}
"""By name. ``cases`` has further columns: an axis each (:data:`AXIS`) and a metric each (``definitions.METRICS``)."""

FRAME_TABLES: Final = ("frames", "stages")
"""Tables with a row a frame, made of the frame records: as large as the runs were long."""


def units(table: str, names: Iterable[str]) -> dict[str, str]:
    """Return the unit of each named column of a table that has one."""
    known = {column.name: column.unit for column in TABLES[table].columns}
    if table == "cases":
        known |= {name: row.unit for name, row in METRICS.items()}
    return {name: unit for name in names if (unit := known.get(name, ""))}


def arrow_table(table: str, rows: dict[str, list[Any]]) -> pa.Table:
    """Return a table of Arrow from its columns, each a list; what is not given is absent throughout."""
    import pyarrow as pa

    length = len(rows["run"])
    schema = TABLES[table].schema()
    return pa.table(
        [
            pa.array(rows[field.name], type=pa.string()).dictionary_encode()
            if pa.types.is_dictionary(field.type) and field.name in rows
            else pa.array(rows.get(field.name, [None] * length), type=field.type)
            for field in schema
        ],
        schema=schema,
    )
