"""A second opinion on the loss ledger, from the capture alone: what does not agree is a fault of the harness.

The ledger is made of the counters of host, link and client. A capture at the client's device has seen each packet
that arrived, so that it can be counted again without any of them: packets always, for their numbers are in clear;
frames and shards where headers can be read. What depends on more than what arrived (a socket that overflowed, a frame
that was given up) is left out, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.analysis.ledger import rejected
from harness.analysis.results import MAX_RESULT_BYTES, NOT_JUDGED, CaseResult, Check, case_from_json
from harness.dissect.keys import Keys
from harness.dissect.reading import Reading, See, Survey
from harness.dissect.streams import Stream
from harness.dissect.wires import ENCRYPTED
from harness.network.capture import CAPTURE_NAME
from punktfunk.errors import ResultsError, UsageError
from punktfunk.regular_file import read_regular

DOWN: Final = "host_to_client"
CHECK: Final = "the capture agrees with the ledger"
CASE_NAME: Final = "case.json"


@dataclass(frozen=True, slots=True)
class Count:
    """One count, twice."""

    what: str
    capture: int
    least: int
    """Of the ledger: equal to ``most`` where it says one number."""
    most: int

    @property
    def agrees(self) -> bool:
        """Whether the capture's lies within the ledger's."""
        return self.least <= self.capture <= self.most

    @property
    def ledger(self) -> str:
        """The ledger's, as text."""
        return f"{self.least:,}" if self.least == self.most else f"{self.least:,} to {self.most:,}"


@dataclass(slots=True)
class Opinion:
    """What a capture says of a case's ledger."""

    counts: list[Count] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """What could not be compared, and why."""
    broken: str = ""
    """Why a capture of the harness's own is none to hold anything against; "" where it ended in order."""
    survey: Survey | None = None
    """What was read of the capture; None where it could not be."""

    @property
    def disagreements(self) -> list[Count]:
        """Counts that do not agree."""
        return [count for count in self.counts if not count.agrees]

    def check(self) -> Check:
        """Return it as a check of a case."""
        odd = self.disagreements
        said = "; ".join(
            f"{count.what}: {count.capture:,} captured, {count.ledger} in the ledger" for count in odd
        )
        return Check(
            name=CHECK,
            passed=not odd and not self.broken,
            expected=f"{len(self.counts)} counts",
            measured=said or self.broken or f"{len(self.counts)} counts",
            detail="; ".join(self.left_out),
        )

    def add(self, what: str, capture: int, ledger: int, most: int | None = None) -> None:
        """Take a count of both; ``ledger`` to ``most`` where the ledger does not know it exactly."""
        self.counts.append(Count(what, capture, ledger, ledger if most is None else most))


def of_case(folder: Path, case: CaseResult, key_log: Path | None, see: See | None = None) -> Opinion:
    """Return what the capture in a case's folder says of its ledger, opened with a key log where there is one.

    ``see`` is shown each datagram that is read. A key log that cannot be used costs what it would have opened, and
    that is said; a capture that cannot be read is one that broke off.
    """
    keys, trouble = Keys(), ""
    if key_log is not None:
        try:
            keys.read(key_log)
        except UsageError as error:
            trouble = error.cause
    try:
        survey = Reading(folder / CAPTURE_NAME, keys).read(see)
    except UsageError as error:
        return Opinion(broken=f"the capture cannot be read: {error.cause}")
    found = opinion(survey, case)
    found.survey = survey
    if trouble:
        found.left_out.append(f"{NOT_JUDGED}: what is sealed: {trouble}")
    return found


def read_case(path: Path) -> CaseResult:
    """Return the case of a file or of a folder that has one; raise ResultsError where there is none."""
    file = path / CASE_NAME if path.is_dir() else path
    try:
        content = read_regular(file, MAX_RESULT_BYTES)
    except OSError as error:
        raise ResultsError(
            f"{file} cannot be read: {error.strerror}", "name the folder of a case, which has a case.json"
        ) from error
    return case_from_json(content, file)


def opinion(survey: Survey, case: CaseResult) -> Opinion:
    """Count again what a case's ledger counts.

    The capture is of the client's device, over the whole session. One that missed packets, or was not read to its
    end, has no opinion.
    """
    found = Opinion()
    ledger = case.ledgers.get(DOWN)
    ports = set(case.peers["host"].ports) if "host" in case.peers else set()
    if ledger is None or not ledger.counts or not ports:
        found.left_out.append("the case has no ledger of packets from known ports")
        return found
    if survey.missed is None or survey.missed or survey.damage or survey.unread:
        missed = "does not say what it missed" if survey.missed is None else f"missed {survey.missed} packets"
        why = survey.damage or ("was not read to its end" if survey.unread else missed)
        found.left_out.append(f"the capture may not be all that arrived: {why}")
        if survey.damage or survey.missed is None:
            found.broken = f"the capture broke off: {why}"
        return found
    streams = [stream for stream in survey.streams if stream.source[1] in ports]
    counts = _Counts(ledger.counts)
    _link(found, streams, counts)
    if not ledger.balances:
        found.left_out.append("an end was lost or killed, so that its counts are not whole")
    elif counts.known("client", "packets_received"):
        _client(found, streams, counts)
    return found


class _Counts:
    """Counters of a ledger by side: a name that two sides use stands there with its side in front."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def known(self, side: str, name: str) -> bool:
        """Whether a side has such a counter."""
        return f"{side}_{name}" in self._counts or name in self._counts

    def of(self, side: str, name: str) -> int:
        """Return a side's counter, 0 for one that it does not have."""
        return self._counts.get(f"{side}_{name}", self._counts.get(name, 0))

    def strange(self) -> int:
        """Return how many packets the client rejected for another reason than that they came twice."""
        return rejected(self._counts) - self.of("client", "rejected_replay")


def _link(found: Opinion, streams: Iterable[Stream], counts: _Counts) -> None:
    if not counts.known("link", "delivered"):
        return
    ours = counts.of("link", "delivered") - counts.of("link", "other_delivered")
    found.add("packets that arrived", sum(stream.packets + stream.damaged for stream in streams), ours)
    damaged = counts.of("link", "checksum_dropped") - counts.of("link", "other_checksum_dropped")
    found.add("with a wrong checksum", sum(stream.damaged for stream in streams), damaged)


def _client(found: Opinion, streams: list[Stream], counts: _Counts) -> None:
    unseen, strange = counts.of("client", "kernel_dropped"), counts.strange()
    received = counts.of("client", "packets_received") + unseen
    found.add("received, or no room in the socket", sum(s.packets for s in streams), received)
    video = [stream for stream in streams if stream.is_video]
    if unseen:
        found.left_out.append(f"the client's socket had no room for {unseen} packets, of unknown numbers")
    elif len(video) != 1:
        found.left_out.append(f"the host's ports sent {len(video)} streams of video")
    elif strange:
        found.left_out.append(f"the client rejected {strange} packets, whose numbers may be wrong")
    else:
        _numbers(found, video[0], counts)
        _frames(found, video[0], counts)


def _numbers(found: Opinion, stream: Stream, counts: _Counts) -> None:
    numbers = stream.numbers
    if stream.kind in ENCRYPTED or not counts.of("client", "packets_late"):
        twice = counts.of("client", "rejected_replay") + counts.of("client", "packets_duplicate")
        found.add("twice", numbers.duplicates, twice)
    found.add("after a later one", numbers.reordered, counts.of("client", "packets_reordered"))
    if counts.known("host", "packets_sent"):
        # Of what was lost at the very end a client knows only where its host says how much it sent.
        sent, lost = counts.of("host", "packets_sent"), counts.of("client", "packets_lost")
        tail = max(0, sent - numbers.highest - 1)
        found.add("missing, but for the end", numbers.missing, max(0, lost - tail), lost)
        found.add("missing, with the end", sent - numbers.distinct, lost, lost + tail)


def _frames(found: Opinion, stream: Stream, counts: _Counts) -> None:
    if not stream.readable:
        found.left_out.append(
            "frames and shards: the headers are sealed, and no key that was given opens them"
        )
        return
    late, expired = counts.of("client", "packets_late"), counts.of("client", "frames_expired")
    frames = stream.frames.values()
    whole = sum(frame.whole for frame in frames)
    complete = counts.of("client", "frames_complete")
    # A frame whose last shards came after its turn is whole here, and given up there.
    found.add("whole frames", whole, complete + (0 if late else expired), complete + expired + late)
    if late or expired:
        found.left_out.append(f"data shards: {late} packets came after their frame's turn")
        return
    rebuilt = counts.of("client", "data_shards_recovered")
    found.add("data shards that FEC rebuilt", sum(frame.rebuilt for frame in frames), rebuilt)
    if all(len(frame.found) == frame.blocks for frame in frames):
        gone = sum(block.missing for frame in frames for block in frame.found.values())
        found.add("data shards lost for good", gone, counts.of("client", "data_shards_unrecoverable"))
