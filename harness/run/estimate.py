"""How long a case will take: for ``--dry-run``, for the time left, and for the time limit."""

from __future__ import annotations

from harness.scenario.expand import Case
from harness.scenario.link import Backend

SIM_S_PER_PACKET = 4e-6
"""Of one core, sealed and opened, as the sim acceptance asks for (60 s of 1080p60 in 0.6 s); see docs/explanation."""
SIM_S_PER_SEED = 3e-4
ROW_S = 5e-3
"""Figures, theory and a row of the table for a case, beside its simulation."""
REAL_SETUP_S = 6.0
"""Namespaces, devices, link probe, encoder start and teardown of a case on a real link."""


def packets_per_frame(case: Case) -> float:
    """Return the mean number of packets of a frame, recovery included."""
    stream, media = case.spec.stream, case.spec.media
    size = (
        media.sizes.mean_bytes()
        if media.source == "synthetic"
        else media.bitrate.bits_per_second / 8 / media.fps
    )
    data = max(1.0, size / stream.shard.bytes)
    return data * (1 + stream.fec_percent / 100)


def estimate_s(case: Case, backend: Backend) -> float:
    """Return the seconds that a case should take on ``backend``, of one core in the simulator."""
    media = case.spec.media
    if backend is Backend.SIM:
        packets = packets_per_frame(case) * media.frame_count
        return case.spec.seeds * (packets * SIM_S_PER_PACKET + SIM_S_PER_SEED)
    return media.duration_ns / 1e9 + REAL_SETUP_S


def row_s(case: Case) -> float:
    """Return the seconds of one core that a case takes in a run that keeps a row for it."""
    return estimate_s(case, Backend.SIM) + ROW_S


def limit_s(case: Case, backend: Backend) -> float:
    """Return the seconds after which a case is given up: what it says, else three times the estimate and 60 s."""
    if case.spec.timeout is not None:
        return case.spec.timeout.seconds
    return 3 * estimate_s(case, backend) + 60
