"""What must hold of every live session, whatever the scenario expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.analysis import recovery
from harness.analysis.distributions import binomial_p_value
from harness.analysis.records import NULL, Records
from harness.analysis.results import Check
from harness.link.expected import expected
from harness.scenario.model import Session

LOSS_ALPHA = 1e-4
"""Probability of a wrong alarm of the test of transport loss, per case."""

_LAST_FRAMES = 30
"""Frames at the end of a stream whose loss may be noticed too late to ask for anything."""


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
    if client is not None and spec.media.source != "synthetic":
        found.append(_every_decodable_frame_decodes(table, client))
    if client is not None and spec.stream.recovery:
        found.append(_recovery_is_requested(table, host, client))
        found += recovery_checks(spec, [table])
    steady = spec.link.down.trace is None and not any(event.down for event in spec.events)
    if steady and link.get("link_in"):
        loss = _transport_loss(spec, link)
        found += [loss] if loss else []
    return found


def recovery_checks(spec: Session, tables: Sequence[Records]) -> list[Check]:
    """Return the check that a lost frame is answered with a key frame; none where none can or need be asked for.

    ``tables`` are the joined records of a case, one a seed. Without the host's there is nothing to check.
    """
    every_frame_is_key = spec.media.source == "synthetic" and spec.media.key_interval == 0
    if not spec.stream.recovery or every_frame_is_key:
        return []
    known = [table for table in tables if np.any(table["sealed_ns"] != NULL)]
    if not known:
        return []
    waits = np.concatenate(
        [recovery.key_frame_waits_ms(table, but_last=_LAST_FRAMES, noticed=True) for table in known]
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


def _recovery_is_requested(table: Records, host: Mapping[str, int], client: Mapping[str, int]) -> Check:
    """A frame that never left the sender's queue arms recovery at the host, before the client could know of it."""
    lost = (table["client_status"] != 0) & (table["client_status"] != NULL)
    lost |= (table["client_status"] == 0) & (table["decodable"] == 0)
    # A client that has been told of the end asks for nothing more.
    broken = int(np.count_nonzero(lost & (table["index"] <= table["index"].max(initial=0) - _LAST_FRAMES)))
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
