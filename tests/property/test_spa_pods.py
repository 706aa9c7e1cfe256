"""What a producer answers with may be anything: it is read whole, or refused, and nothing outside it is touched."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from punktfunk.desktop.pipewire import formats, pods
from punktfunk.desktop.pipewire.pods import ChoiceKind, PodType
from punktfunk.errors import MediaError

scalars = st.one_of(
    st.integers(0, 2**32 - 1).map(pods.identifier),
    st.integers(-(2**31), 2**31 - 1).map(pods.integer),
    st.integers(-(2**63), 2**63 - 1).map(pods.long),
    st.builds(pods.rectangle, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.builds(pods.fraction, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.builds(pods.pod, st.sampled_from(PodType), st.binary(max_size=40)),
)
choices = st.builds(lambda kind, value: pods.choice(kind, value, value), st.sampled_from(ChoiceKind), scalars)
objects = st.builds(
    pods.pod_object,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.dictionaries(st.sampled_from([1, 2, 0x20001, 0x20002, 0x20003, 9]), scalars | choices, max_size=6),
)


@given(objects, st.data())
def test_a_damaged_object_is_read_or_refused(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(damaged) // 4 - 1)) * 4
        struct.pack_into("=I", damaged, at, data.draw(st.integers(0, 2**32 - 1) | st.integers(0, 64)))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    try:
        parsed = pods.parse_object(cut)
        video = formats.read_format(parsed)
    except MediaError:
        return
    assert 0 < video.width <= formats.MAX_SIDE
    assert 0 < video.height <= formats.MAX_SIDE


@given(st.binary(max_size=200))
def test_bytes_that_are_no_object_are_refused(data: bytes) -> None:
    try:
        pods.parse_object(data)
    except MediaError:
        return
    assert struct.unpack_from("=I", data, 4) == (PodType.OBJECT,)
