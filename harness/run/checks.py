"""What must hold of every live session, whatever the scenario expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from harness.analysis import recovery
from harness.analysis.distributions import binomial_p_value
from harness.analysis.records import NULL, Records
from harness.analysis.results import Check
from harness.link.expected import expected
from harness.scenario.model import Session
from punktfunk.client.key_frames import patience_s

LOSS_ALPHA = 1e-4
"""Probability of a wrong alarm of the test of transport loss, per case."""

_LAST_FRAMES = 30
"""Frames at the end of a stream, beside those of a round trip, whose loss may be noticed too late to ask for any."""
_LOSS_WINDOW_NS = 120_000_000
"""How long a client waits for the rest of a frame; no scenario sets another."""
_SIMULATED_PATIENCE_NS = 50_000_000
"""After what time the simulated client asks again, at least; it is twice the way up where that is more."""
_PROGRAMS_NS = 330_000_000
"""What a request and its answer may take in the programs of a live session beyond the link: two processes at
either end, on a machine that others use as well, and an encoder that has frames under way. Over a short link and at 60
frames a second all frames but the last 30 are owed an answer then."""

_LOSES: Final = {"loss", "loss_p", "corrupt", "rate_kbps"}
"""What the core's link model has to say of a link that loses packets: by itself, or from a queue."""


def session_checks(
    spec: Session,
    table: Records,
    host: Mapping[str, int],
    client: Mapping[str, int] | None,
    link: Mapping[str, int],
) -> list[Check]:
    """Return the checks of a session from its joined records and the counters of host, client and link.

    ``client`` is None where it left neither: of frames that nobody has seen arrive nothing is checked.
    """
    found = []
    if client is not None and spec.streams_pictures:
        found.append(_every_decodable_frame_decodes(table, client))
    if client is not None and spec.stream.recovery:
        found.append(_recovery_is_requested(spec, table, host, client))
        found += recovery_checks(spec, [table], live=True)
    steady = spec.link.down.trace is None and not any(event.down for event in spec.events)
    if steady and link.get("link_in"):
        loss = _transport_loss(spec, link)
        found += [loss] if loss else []
    return found


def recovery_checks(spec: Session, tables: Sequence[Records], *, live: bool = False) -> list[Check]:
    """Return the check that a lost frame is answered with a key frame; none where none can or need be asked for.

    ``tables`` are the joined records of a case, one a seed. Without the host's there is nothing to check. Of frames
    at the end of the stream, those are left out whose answer came too late for it: how many follows from the link,
    and for a ``live`` session from what its programs may take.
    """
    every_frame_is_key = spec.media.source == "synthetic" and spec.media.key_interval == 0
    if not spec.stream.recovery or every_frame_is_key:
        return []
    known = [table for table in tables if np.any(table["sealed_ns"] != NULL)]
    if not known:
        return []
    up_ns = spec.longest_delay_ns("up")
    patience_ns = _live_patience_ns(spec) if live else max(2 * up_ns, _SIMULATED_PATIENCE_NS)
    waits = np.concatenate(
        [
            recovery.key_frame_waits_ms(
                table,
                of=recovery.answerable(
                    table,
                    reorder_ns=spec.stream.reorder_window.ns,
                    loss_ns=_LOSS_WINDOW_NS,
                    patience_ns=patience_ns,
                    request_ns=up_ns + (_PROGRAMS_NS if live else 0),
                ),
            )
            for table in known
        ]
    )
    lost, without = waits.size, int(np.isnan(waits).sum())
    return [
        Check(
            name="a key frame follows every lost frame",
            passed=without == 0,
            expected=f"{lost} frames",
            measured=f"{lost - without} frames",
        )
    ]


def _live_patience_ns(spec: Session) -> int:
    """Return after how long a live client has asked for the second time, also where the way up lost the first."""
    # A queue before a bottleneck makes a round trip that no scenario says.
    queued = any("rate_kbps" in state for state in spec.link_states("down"))
    patience = patience_s(None if queued else spec.longest_delay_ns("down") + spec.longest_delay_ns("up"))
    lossy = any(state.keys() & _LOSES for state in spec.link_states("up"))
    return round(patience * (2 if lossy else 1) * 1e9)


def _every_decodable_frame_decodes(table: Records, client: Mapping[str, int]) -> Check:
    """Frames that a busy client dropped before its decoder are named, and must be exactly those that are missing."""
    complete = (table["client_status"] == 0) & (table["decodable"] == 1)
    whole, missing = int(complete.sum()), int((complete & (table["decode_end_ns"] == NULL)).sum())
    dropped = client.get("frames_queue_dropped", 0)
    return Check(
        name="every complete frame whose references are complete decodes",
        passed=missing == dropped,
        expected=f"{whole - dropped} frames",
        measured=f"{whole - missing} frames",
        detail=f"{dropped} more were dropped before the decoder, which was too slow" if dropped else "",
    )


def _recovery_is_requested(
    spec: Session, table: Records, host: Mapping[str, int], client: Mapping[str, int]
) -> Check:
    """A frame that never left the sender's queue arms recovery at the host, before the client could know of it."""
    lost = (table["client_status"] != 0) & (table["client_status"] != NULL)
    lost |= (table["client_status"] == 0) & (table["decodable"] == 0)
    # A client that has been told of the end asks for nothing more.
    round_trip_ns = spec.longest_delay_ns("down") + spec.longest_delay_ns("up")
    late = _LAST_FRAMES + int(round_trip_ns * spec.media.fps / 1e9)
    broken = int(np.count_nonzero(lost & (table["index"] <= table["index"].max(initial=0) - late)))
    asked = max(client.get("recovery_requests", 0), host.get("keyframe_requests", 0))
    return Check(
        name="recovery is requested when a frame is lost",
        passed=asked > 0 if broken else True,
        expected="at least one request" if broken else "nothing was lost",
        measured=f"{asked} requests for {broken} lost or undecodable frames",
    )


def _transport_loss(spec: Session, link: Mapping[str, int]) -> Check | None:
    """Test the link's own count of lost packets against the loss that was asked for."""
    core = spec.link.down.core()
    want = expected(core)
    if want.every is not None or "dropped_loss" not in link:
        return None
    asked = float(want.loss if not want.checksum_drop else expected(core | {"corrupt": 0.0}).loss)
    n, lost = link["link_in"], link["dropped_loss"]
    # A bursty count varies like a binomial count of fewer packets.
    effective = max(1, round(n / want.loss_inflation))
    p_value = binomial_p_value(min(effective, round(lost / want.loss_inflation)), effective, asked)
    return Check(
        name="transport loss is the loss asked for",
        passed=p_value > LOSS_ALPHA,
        expected=f"{asked:.3%} of {n} packets",
        measured=f"{lost / n:.3%} (p {p_value:.2g})",
    )
