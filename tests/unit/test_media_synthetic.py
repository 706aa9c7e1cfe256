"""Synthetic access units are the reference host's, and every byte of them is checked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punktfunk.errors import MediaError, UsageError
from punktfunk.media import EncoderConfig, RateChange, SyntheticSpec, is_test_frame, open_producer, test_frame
from punktfunk.units import Bitrate, Mode


def test_the_content_is_that_of_the_wire_vector() -> None:
    # vector of punktfunk/1 section 4.7: test_frame(7, 40)
    expected = "070000000b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e"
    assert test_frame(7, 40).hex() == expected


@given(st.integers(0, 2**32 - 1), st.integers(4, 3000))
def test_every_byte_follows_the_definition(index: int, length: int) -> None:
    data = test_frame(index, length)
    assert data == index.to_bytes(4, "little") + bytes((index + i) & 255 for i in range(4, length))
    assert is_test_frame(index, data)
    assert is_test_frame(index, memoryview(bytearray(data)))


@given(st.integers(0, 2**32 - 1), st.integers(4, 3000), st.data())
def test_one_wrong_byte_is_noticed(index: int, length: int, data: st.DataObject) -> None:
    damaged = bytearray(test_frame(index, length))
    damaged[data.draw(st.integers(0, length - 1))] ^= data.draw(st.integers(1, 255))
    assert not is_test_frame(index, damaged)


def test_a_frame_too_short_for_its_index_is_refused_and_never_taken_for_one() -> None:
    with pytest.raises(UsageError, match="cannot hold its index"):
        test_frame(0, 3)
    assert not is_test_frame(0, b"\x00\x00\x00")


def test_sizes_follow_the_bit_rate() -> None:
    config = EncoderConfig(mode=Mode.parse("1280x720@50"), bitrate=Bitrate.parse("8 Mbit/s"))
    producer = open_producer(SyntheticSpec(), config)
    assert producer.codec is None
    units = [producer.produce() for _ in range(3)]
    assert [len(unit.data) for unit in units] == [20_000] * 3
    assert [unit.frame for unit in units] == [0, 1, 2]
    assert all(unit.key and is_test_frame(unit.frame, unit.data) for unit in units)
    assert producer.set_bitrate(Bitrate.parse("4 Mbit/s")) is RateChange.IN_PLACE
    assert producer.set_bitrate(Bitrate.parse("4 Mbit/s")) is RateChange.UNCHANGED
    assert len(producer.produce().data) == 10_000
    producer.close()
    with pytest.raises(MediaError, match="closed"):
        producer.produce()


def test_key_marks_come_at_the_interval_and_on_request() -> None:
    config = EncoderConfig()
    producer = open_producer(SyntheticSpec(frame_bytes=100, key_interval=4), config)
    keys = []
    for index in range(10):
        if index == 6:
            producer.request_key()
        keys.append(producer.produce().key)
    assert [index for index, key in enumerate(keys) if key] == [0, 4, 6, 8]
    only_asked = open_producer(SyntheticSpec(frame_bytes=100, key_interval=0), config)
    assert [only_asked.produce().key for _ in range(4)] == [True, False, False, False]
