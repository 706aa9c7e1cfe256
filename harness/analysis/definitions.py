"""Every figure that a case can report: name, unit, which way is better, and what it is computed from.

The one table that scenarios, reports, baselines and the reference page share. A row is a name alone: its value is made
in ``metrics``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.analysis import stages
from harness.analysis.stats import Better


@dataclass(frozen=True, slots=True)
class Definition:
    """A row of the metric table."""

    name: str
    unit: str
    """us, ms, fraction, frames, packets, Mbit/s, MiB, dB, or "" for a plain number."""
    better: Better
    description: str
    source: str
    """What it is computed from: record columns and counters."""
    group: str
    deterministic: bool = True
    """Equal for equal seed and scenario in ``sim``, where baselines gate it exactly."""


PERCENTILES: Final = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999), ("max", 1.0))
QUANTILES: Final = (*(i / 100 for i in range(1, 100)), 0.995, 0.999, 1.0)
"""Grid of the quantile curves that reports draw distributions from."""

FREEZE: Final = "recovery_time"
KEY_WAIT: Final = "key_frame_wait"
STRIP: Final = "strip_glass_to_glass"

_ORDINAL: Final = {
    "p50": "median",
    "p95": "95th percentile",
    "p99": "99th percentile",
    "p999": "99.9th percentile",
    "max": "largest value",
}

_BETTER: Final[dict[str, Better]] = {"lower": "lower", "higher": "higher", "none": "none"}

# name | unit | better | description | computed from; a trailing ! marks what even a simulation does not
# repeat
_ROWS: Final = """
frames
frames_submitted | frames | none | access units given to the host | host frames_submitted
frames_complete | frames | higher | frames whose every byte arrived | client frames_complete
frames_intact | frames | higher | frames delivered byte-equal to what was sent | compared in a simulation
frames_corrupt | frames | lower | frames delivered with other bytes than were sent | compared in a simulation
frames_damaged | frames | none | frames that lost a data shard | data_missing > 0
frames_recovered | frames | none | complete frames that FEC recovered | complete and recovered > 0
frames_unrecoverable | frames | lower | frames with more losses than FEC recovers | client frames_unrecoverable
frames_expired | frames | lower | frames whose shards all came, but after their turn | client frames_expired
frames_undecodable | frames | lower | complete frames with a reference missing | client frames_undecodable
frames_queue_dropped | frames | lower | frames dropped from the sender's queue | host frames_queue_dropped
frames_decoder_late | frames | lower | complete frames dropped before a busy decoder | client frames_queue_dropped
frames_lost | frames | lower | submitted frames that were not complete | submitted - complete
frames_decoded | frames | higher | frames that came out of the decoder | decode_end_ns exists
recovery | fraction | higher | share of sent frames that were complete | complete / (submitted - dropped)
fec_success | fraction | higher | share of damaged frames that FEC recovered | complete / damaged
decodable | fraction | higher | share of submitted frames that could be decoded | decodable / submitted
undecodable | fraction | lower | share of complete frames with a reference missing | undecodable / complete
packets
packets_sent | packets | none | packets handed to the kernel | host packets_sent
packets_lost | packets | lower | packets that never arrived | client packets_lost
transport_loss | fraction | lower | share of packets lost on the link | link dropped, or client packets_lost
packets_reordered | packets | none | packets overtaken by later ones | client packets_reordered
packets_duplicate | packets | none | copies that arrived again | client packets_duplicate + rejected_replay
packets_late | packets | lower | packets that came after their frame's turn | client packets_late
packets_rejected | packets | none | packets refused, over all reasons | client rejected_*
packets_kernel_dropped | packets | lower | packets the socket buffer dropped | client kernel_dropped !
fec_overhead | fraction | lower | recovery packets over data packets | sum of m / sum of k
fec_overhead_max | fraction | none | largest share of recovery packets of a frame | m / k
fec_overhead_last | fraction | none | that of the last frame (of several seeds, the largest) | m / k
goodput | Mbit/s | higher | bits of complete frames over the stream's time | bytes of complete frames / time
wire_rate | Mbit/s | none | bits sent over the stream's time | host bytes_sent / time
queue_wait_max | ms | lower | longest wait in the link's queue | link queue_max_ns
cost
send_cpu_per_packet | us | lower | CPU time of sending per packet | host cpu_ns / packets_sent !
receive_cpu_per_packet | us | lower | CPU time of the receive thread per packet | client cpu_ns / received !
memory_peak | MiB | lower | most memory held for unfinished frames | client memory_peak_bytes
picture
strip_readable | fraction | higher | share of decoded frames whose frame marker was readable | strip_frame exists !
strip_agreement | fraction | higher | share of frame markers that name the frame they came in | strip_frame = index !
strip_time_error_max | ms | lower | largest gap of drawn and stamped time | abs(strip_time_us - captured_ns) !
pictures_read | frames | higher | different frames that pictures of a foreign client named | its coded video !
pictures_missing | frames | lower | frames between them that no picture named | its coded video !
pictures_unreadable | frames | lower | pictures of a foreign client without a readable marker | its coded video !
pictures_repeated | frames | lower | pictures of a foreign client that named a frame again | its coded video !
wire_frames | frames | higher | frames of which packets reached the client's device | the capture, opened !
wire_frames_whole | frames | higher | of them those that are whole, if only by FEC | the capture, opened !
wire_frames_repaired | frames | none | of these those that only FEC makes whole | the capture, opened !
wire_shards_rebuilt | packets | none | data packets that FEC makes of others | the capture, opened !
psnr_mean | dB | higher | mean PSNR of decoded frames against the source | psnr !
psnr_p5 | dB | higher | PSNR that 95 % of decoded frames exceed | psnr !
ssim_mean |  | higher | mean SSIM of decoded frames against the source | ssim !
ssim_p5 |  | higher | SSIM that 95 % of decoded frames exceed | ssim !
"""


def _table() -> dict[str, Definition]:
    rows: list[Definition] = []
    group = ""
    for line in _ROWS.strip().splitlines():
        if "|" not in line:
            group = line
            continue
        name, unit, better, description, source = (part.strip() for part in line.split("|"))
        rows.append(
            Definition(
                name=name,
                unit=unit,
                better=_BETTER[better],
                description=description,
                source=source.removesuffix(" !"),
                group=group,
                deterministic=not source.endswith("!"),
            )
        )
    rows += _distribution(
        FREEZE,
        "the time from a frame that cannot be shown to the next one that can",
        "captured_ns of the first missing frame to complete_ns of the next decodable one",
        "frames",
    )
    rows += _distribution(
        KEY_WAIT,
        "the time from a lost frame to the next key frame, both as the host sealed them",
        "sealed_ns of a lost frame to sealed_ns of the next frame with the flag of a key frame",
        "frames",
    )
    for span in stages.SPANS:
        rows += _distribution(span.name, span.description, f"{span.end} - {span.begin}", "latency")
    rows += _distribution(
        STRIP,
        "the time from drawing a picture to its decoded copy, read from the pixels",
        "decode_end_ns - strip_time_us",
        "latency",
    )
    return {row.name: row for row in rows}


def _distribution(name: str, description: str, source: str, group: str) -> list[Definition]:
    return [
        Definition(f"{name}_{label}", "ms", "lower", f"{_ORDINAL[label]} of {description}", source, group)
        for label, _ in PERCENTILES
    ]


METRICS: Final[dict[str, Definition]] = _table()

CASE_CPU: Final = Definition(
    "case_cpu",
    "ms",
    "lower",
    "CPU time of a whole case, its programs included",
    "rusage of who ran it",
    "cost",
    False,
)
CORE_CPU: Final = Definition(
    "core_cpu",
    "ms",
    "lower",
    "CPU time of a simulation in the core",
    "thread CPU time of core.simulate",
    "cost",
    False,
)
FIGURES: Final[dict[str, Definition]] = {**METRICS, CASE_CPU.name: CASE_CPU, CORE_CPU.name: CORE_CPU}
"""What builds are compared by: every metric of a case, and two that whoever runs the case measures from outside."""
