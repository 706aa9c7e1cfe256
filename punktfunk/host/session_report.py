"""What a host knows of a session that has, or had, a stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from punktfunk.clock import monotonic_ns, realtime_ns
from punktfunk.host.client_session import Remote
from punktfunk.host.desktop import DesktopPool, OutputLease
from punktfunk.host.stream.returning import Returning
from punktfunk.media.sound import DEFAULT_SOUND, SoundFormat
from punktfunk.units import Mode


@dataclass(slots=True)
class SessionReport:
    """A session that had a stream: what is known of it, and at last how it ended.

    ``counters``, ``stages`` and ``rates`` are the worker's (:class:`~punktfunk.host.stream.messages.Progress`), as of
    its last second or its end. ``stream_reason`` is the worker's own end (frames, seconds, stopped, or what failed),
    ``reason`` the session's.
    """

    number: int
    peer: Remote
    mode: Mode
    artefacts: Path | None
    name: str = ""
    """What the client calls itself, fit to be shown."""
    began_ns: int = field(default_factory=monotonic_ns)
    began_unix_ns: int = field(default_factory=realtime_ns)
    state: Literal["starting", "streaming", "ending", "ended"] = "starting"
    source: str = ""
    """Kind of what is streamed."""
    codec: str | None = None
    """``None`` until the worker is ready, and for a stream that is no video."""
    encoder: str | None = None
    """As ``codec``."""
    handover: tuple[str, str] | None = None
    """How a screen's pictures reach the encoder (:class:`punktfunk.media.handover.Way`), and why; ``None``: unknown."""
    bitrate_kbps: int = 0
    """What was negotiated or last asked for."""
    fec_scheme: str = ""
    fec_percent: int = 0
    adaptive_fec: bool = False
    worker_pid: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    stages: dict[str, list[int]] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    loss_reports: int = 0
    loss_ppm: int | None = None
    """The client's last loss report, parts per million."""
    datagrams: Counter[str] = field(default_factory=Counter)
    """Datagrams taken, by kind, and at the end those dropped, by ``dropped_`` and the reason."""
    notices: dict[str, str] = field(default_factory=dict)
    """What a person should know of it now, in words, by what it is about."""
    stream_reason: str = ""
    reason: str = ""
    failed: bool = False
    _told_handovers: set[tuple[str, str]] = field(default_factory=set)
    _tells_loss: bool = True
    _sound: SoundFormat = DEFAULT_SOUND
    _lease: OutputLease | None = None
    _host_audio: bool = True
    _keep_pads: bool = False
    _returning: Returning | None = None
    _chosen: str | None = None
    """The encoder that its worker was told to open; ``None`` for a stream that is no video."""
    _worker_gone: bool = False
    _session_gone: bool = False

    @property
    def desktop(self) -> DesktopPool | None:
        """Where its input goes and its sound comes from; ``None`` for a source that is no desktop, or none yet."""
        return None if self._lease is None else self._lease.desktop
