"""A desktop through ``punktfunk serve`` and ``punktfunk connect``: what is shown is what was captured."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.served_desktop import ServedDesktop, connect, pictures
from punktfunk.units import Mode

MODE = Mode(1280, 720, 30)


def test_every_picture_that_serve_captures_is_the_one_that_connect_decodes(
    desktop_parts: None, tmp_path: Path
) -> None:
    with ServedDesktop(tmp_path, "--bitrate", "8 Mbit/s") as host:
        assert "a headless sway that runs punktfunk testcard" in host.banner
        printed = connect(host, tmp_path, MODE, 5.0)
        ended = host.end()
    assert "stream 1280x720@30" in printed
    assert "session 1 127.0.0.1 1280x720@30" in ended
    counters = host.stats["counters"]
    seen = pictures(host.records, tmp_path / "client")
    assert len(seen.captured_ns) > 45, "the card was not streamed for long"
    assert counters["capture_captured"] > 45
    assert (seen.unreadable, seen.wrong) == (0, 0)
    assert (seen.queue_dropped, seen.not_decoded) == (0, 0)
    assert counters["packets_socket_dropped"] == counters["frames_queue_dropped"] == 0
    assert (np.diff(seen.captured_number) >= 0).all()
    assert (np.diff(seen.captured_ns) > 0).all()
    # Stamps and strip tell one story: drawn, then captured, then complete, then decoded.
    for begin, end in (
        ("drawn_ns", "captured_ns"),
        ("captured_ns", "encode_end_ns"),
        ("encode_end_ns", "sent_first_ns"),
        ("sent_first_ns", "complete_ns"),
        ("complete_ns", "decode_end_ns"),
    ):
        assert (seen.between(begin, end) > 0).all(), (begin, end)
