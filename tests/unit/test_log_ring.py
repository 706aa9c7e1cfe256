"""The log that is kept in memory: scrubbed, bounded, of its own level, and told to whoever listens."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from punktfunk import log
from punktfunk.log_ring import MAX_ENTRY_BYTES, LogEntry, LogRing


@pytest.fixture
def ring() -> Iterator[LogRing]:
    kept = LogRing()
    log.configure(level="warning", json=True, stream=io.StringIO())
    log.keep(kept)
    yield kept
    log.keep(None)
    log.reset()


def entry(text: str, **fields: object) -> LogEntry:
    return LogEntry("2026-01-01T00:00:00Z", "info", "test", text, dict(fields))


def test_the_oldest_lines_make_room_and_are_counted() -> None:
    kept = LogRing(max_entries=3)
    for number in range(5):
        kept.append(entry(str(number)))
    assert [one.event for one in kept.entries()] == ["2", "3", "4"]
    assert [one.event for one in kept.entries(2)] == ["3", "4"]
    assert kept.entries(0) == []
    assert kept.forgotten == 2


def test_the_memory_of_long_lines_is_bounded() -> None:
    kept = LogRing(max_bytes=10_000)
    for number in range(100):
        kept.append(entry("x" * 500, number=number))
    sizes = [len(one.to_json()) for one in kept.entries()]
    assert 8_000 < sum(sizes) <= 10_000
    assert kept.entries()[-1].fields["number"] == 99


def test_a_line_beyond_all_measure_keeps_its_start_only() -> None:
    kept = LogRing()
    kept.append(entry("y" * 100_000, more="z" * 100_000))
    [only] = kept.entries()
    assert only.event.startswith("yyyy")
    assert len(only.to_json()) < MAX_ENTRY_BYTES
    assert only.fields["left_out_bytes"] > 200_000


def test_kept_lines_are_scrubbed_and_of_a_level_of_their_own(ring: LogRing) -> None:
    logger = log.get("host")
    logger.debug("a detail")
    logger.info("armed", pin="4321", key=bytes(16), text="Bearer abcdefgh")
    logger.warning("careful")
    assert [one.event for one in ring.entries()] == ["armed", "careful"]
    assert "4321" not in ring.entries()[0].to_json()
    assert "abcdefgh" not in ring.entries()[0].to_json()
    log.keep(ring, "debug")
    logger.debug("a detail")
    log.keep(ring, "error")
    logger.warning("careful")
    assert [one.event for one in ring.entries()] == ["armed", "careful", "a detail"]


def test_what_is_written_does_not_depend_on_what_is_kept() -> None:
    stream, kept = io.StringIO(), LogRing()
    log.configure(level="warning", json=True, stream=stream)
    log.keep(kept, "error")
    try:
        log.get("host").info("only for a verbose terminal")
        log.get("host").warning("written, not kept")
        log.get("host").error("both")
    finally:
        log.keep(None)
        log.reset()
    assert "only for" not in stream.getvalue()
    assert "written, not kept" in stream.getvalue()
    assert [one.event for one in kept.entries()] == ["both"]


def test_warnings_of_libraries_are_kept_too_and_scrubbed(ring: LogRing) -> None:
    library = logging.getLogger("somebody.else")
    library.info("chatter")
    library.warning("sent %s", "Bearer abcdefgh")
    try:
        int("none")
    except ValueError:
        library.exception("broke")
    lines = ring.entries()
    assert [(one.level, one.concern, one.event) for one in lines] == [
        ("warning", "somebody.else", f"sent Bearer {log.SCRUBBED}"),
        ("error", "somebody.else", "broke"),
    ]
    assert "invalid literal" in lines[1].fields["exception"]


def test_listeners_hear_of_lines_until_they_stop(ring: LogRing) -> None:
    heard: list[str] = []
    stop = ring.listen(lambda one: heard.append(one.event))
    log.get("host").info("one")
    stop()
    log.get("host").info("two")
    assert heard == ["one"]


def test_a_worker_hands_its_lines_over_and_writes_none(capsys: pytest.CaptureFixture[str]) -> None:
    handed: list[LogEntry] = []
    log.hand_over(handed.append)
    try:
        log.get("host.worker").info("not worth a message")
        try:
            int("the encoder is on fire")
        except ValueError:
            log.get("host.worker").exception("worker broke", key="secret", frame=7)
    finally:
        log.reset()
    [line] = handed
    assert (line.level, line.concern, line.event) == ("error", "host.worker", "worker broke")
    assert line.fields["frame"] == 7
    assert "secret" not in line.to_json()
    assert "the encoder is on fire" in line.fields["exception"]
    assert capsys.readouterr().err == ""
