"""What a client's session at the host asks of its stream."""

from __future__ import annotations

import socket
from typing import Protocol

from punktfunk.units import Mode


class StreamWorker(Protocol):
    """What a session asks of its stream."""

    def begin(self, data_socket: socket.socket) -> None:
        """Stream on this connected socket; the caller closes its own copy."""

    def request_keyframe(self, rtt_ns: int) -> None:
        """Make the next frame a key frame."""

    def set_bitrate(self, kbps: int) -> int:
        """Encode and pace for another rate; return the one that then applies."""

    def report_loss(self, loss_ppm: int) -> None:
        """Take note of the client's loss, for adaptive FEC."""

    def set_mode(self, mode: Mode) -> None:
        """Stream another mode; the owner answers with ``HostSession.mode_outcome``."""

    def separate_cursor(self, separate: bool) -> None:
        """Have the pointer told beside the pictures (``HostSession.send_cursor``), or painted into them."""

    def probe(self, target_kbps: int, duration_ms: int) -> None:
        """Send filler at a rate for a while; the owner answers with ``HostSession.probe_over``."""

    def stop(self) -> None:
        """End the stream within two seconds."""
