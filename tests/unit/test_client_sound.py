"""What a client makes of sound packets that come late, twice, damaged or not at all."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from punktfunk.client.sound import SoundLog
from punktfunk.media.opus import PACKET_SAMPLES, SAMPLE_RATE, OpusEncoder
from punktfunk.native.datagrams import Audio


def _tone(packets: int) -> list[bytes]:
    encoder = OpusEncoder()
    times = np.arange(packets * PACKET_SAMPLES) / SAMPLE_RATE
    tone = np.repeat((0.5 * np.sin(2 * np.pi * 1000 * times)).astype(np.float32)[:, None], 2, axis=1)
    return [
        encoder.encode(tone[at : at + PACKET_SAMPLES])
        for at in range(0, packets * PACKET_SAMPLES, PACKET_SAMPLES)
    ]


def test_packets_in_order_are_decoded_and_kept(tmp_path: Path) -> None:
    log = SoundLog(tmp_path / "folder" / "sound.wav")
    for seq, opus in enumerate(_tone(100)):
        samples = log.take(Audio(seq, 0, opus))
        assert samples is not None
        assert samples.shape == (PACKET_SAMPLES, 2)
    log.close()
    assert log.counters["sound_packets"] == 100
    assert log.counters["sound_lost"] == log.counters["sound_late"] == 0
    with wave.open(str(tmp_path / "folder" / "sound.wav")) as file:
        assert (file.getframerate(), file.getnchannels()) == (SAMPLE_RATE, 2)
        heard = np.frombuffer(file.readframes(-1), "<i2").reshape(-1, 2)[:, 0]
    assert len(heard) == 100 * PACKET_SAMPLES
    spectrum = np.abs(np.fft.rfft(heard[SAMPLE_RATE // 10 :]))
    assert abs(spectrum.argmax() * SAMPLE_RATE / (len(heard) - SAMPLE_RATE // 10) - 1000) < 5


def test_what_is_missing_is_counted_and_silent_and_what_is_late_is_left_out(tmp_path: Path) -> None:
    log = SoundLog(tmp_path / "sound.wav")
    packets = _tone(10)
    for seq in (0, 1, 5, 4, 5, 6):
        log.take(Audio(seq, 0, packets[seq]))
    log.close()
    assert log.counters["sound_packets"] == 4
    assert log.counters["sound_lost"] == 3
    assert log.counters["sound_late"] == 2
    with wave.open(str(tmp_path / "sound.wav")) as file:
        assert file.getnframes() == 7 * PACKET_SAMPLES, "time goes on where packets are missing"


def test_silent_packets_stand_for_the_time_until_the_next_one(tmp_path: Path) -> None:
    log = SoundLog(tmp_path / "sound.wav")
    opus = _tone(1)[0]
    for seq, (at_ms, data) in enumerate(
        [(0, opus), (5, b""), (105, b""), (205, opus), (10_000, b""), (99_999, opus)]
    ):
        log.take(Audio(seq, at_ms * 1_000_000, data))
    log.close()
    with wave.open(str(tmp_path / "sound.wav")) as file:
        assert file.getnframes() == 3 * PACKET_SAMPLES + SAMPLE_RATE // 5 + SAMPLE_RATE, "at most a second"


def test_counts_go_on_where_the_number_wraps() -> None:
    log = SoundLog()
    for seq in (0xFFFF_FFFE, 0xFFFF_FFFF, 0, 1):
        log.take(Audio(seq, 0, b""))
    assert log.counters["sound_packets"] == 4
    assert log.counters["sound_lost"] == 0


def test_a_hostile_number_makes_no_long_silence(tmp_path: Path) -> None:
    log = SoundLog(tmp_path / "sound.wav")
    log.take(Audio(0, 0, b""))
    log.take(Audio(0x7FFF_0000, 0, b""))
    log.close()
    assert (tmp_path / "sound.wav").stat().st_size < 250_000


def test_damage_is_counted_and_never_raised() -> None:
    log = SoundLog()
    rng = np.random.default_rng(7)
    for seq in range(200):
        log.take(Audio(seq, 0, rng.bytes(int(rng.integers(1, 200)))))
    assert log.counters["sound_packets"] == 200
