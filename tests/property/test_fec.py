"""P3: any k of k + m shards rebuild a block, fewer never do; and GF(2^16) is the code of other implementations."""

from __future__ import annotations

import random

import pytest
import reed_solomon_leopard as leopard
from hypothesis import assume, given
from hypothesis import strategies as st

from punktfunk.core import FecScheme, _core
from punktfunk.errors import CryptoError, FecError

SCHEMES: tuple[FecScheme, ...] = ("gf8", "gf16")


@st.composite
def blocks(draw: st.DrawFn, max_k: int = 40, max_m: int = 20) -> tuple[FecScheme, list[bytes], int]:
    """Draw a scheme, data shards of one length (odd tails included) and a number of recovery shards."""
    scheme = draw(st.sampled_from(SCHEMES))
    k, m = draw(st.integers(1, max_k)), draw(st.integers(1, max_m))
    size = draw(st.integers(1, 100)) * (2 if scheme == "gf16" else 1)
    content = draw(st.randoms(use_true_random=False))
    return scheme, [content.randbytes(size) for _ in range(k)], m


@given(block=blocks(), data=st.data())
def test_any_k_shards_rebuild_the_block(
    block: tuple[FecScheme, list[bytes], int], data: st.DataObject
) -> None:
    scheme, shards, m = block
    everything = shards + _core.fec_encode(scheme, shards, m)
    kept = data.draw(st.permutations(range(len(everything))))[: len(shards)]
    rebuilt = _core.fec_decode(scheme, len(shards), m, {i: everything[i] for i in kept})
    assert rebuilt == {i: shard for i, shard in enumerate(shards) if i not in kept}


@given(block=blocks(), data=st.data())
def test_fewer_than_k_shards_never_rebuild_the_block(
    block: tuple[FecScheme, list[bytes], int], data: st.DataObject
) -> None:
    scheme, shards, m = block
    everything = shards + _core.fec_encode(scheme, shards, m)
    count = data.draw(st.integers(0, len(shards) - 1))
    kept = data.draw(st.permutations(range(len(everything))))[:count]
    with pytest.raises(FecError, match=rf"{count} shards are present and {len(shards)} are needed"):
        _core.fec_decode(scheme, len(shards), m, {i: everything[i] for i in kept})


@given(
    k=st.integers(1, 300),
    m=st.integers(1, 120),
    half=st.integers(1, 90),
    seed=st.randoms(use_true_random=False),
)
def test_gf16_is_the_code_of_reed_solomon_leopard_both_ways(
    k: int, m: int, half: int, seed: random.Random
) -> None:
    shards = [seed.randbytes(2 * half) for _ in range(k)]
    ours, theirs = _core.fec_encode("gf16", shards, m), leopard.encode(shards, m)
    assert ours == [bytes(shard) for shard in theirs]
    lost = seed.sample(range(k), min(k, m))
    data = {i: shard for i, shard in enumerate(shards) if i not in lost}
    rebuilt = leopard.decode(k, m, data, dict(enumerate(ours)))
    assert {i: bytes(shard) for i, shard in rebuilt.items()} == {i: shards[i] for i in lost}


@given(
    frame=st.integers(0, 1 << 26),
    shard=st.integers(1, 992).map(lambda half: 2 * half),
    block=st.integers(1, 4096),
    percent=st.integers(0, 255),
)
def test_geometry_holds_every_byte_and_rounds_recovery_up(
    frame: int, shard: int, block: int, percent: int
) -> None:
    total = max(1, -(-frame // shard))
    assume(-(-total // block) <= 65535)
    config = _core.StreamConfig(
        shard_bytes=shard, max_block_shards=block, fec_percent=percent, max_frame_bytes=max(1, frame)
    )
    pairs = _core.geometry(config, frame)
    assert sum(k for k, _ in pairs) == total
    assert all(k == block for k, _ in pairs[:-1])
    assert all(m == -(-k * percent // 100) for k, m in pairs)


@given(plain=st.binary(max_size=1500), seq=st.integers(0, 2**64 - 1), host=st.booleans())
def test_sealed_bytes_open_on_the_same_key_and_direction_only(plain: bytes, seq: int, host: bool) -> None:
    key = bytes(range(16))
    packet = _core.seal(key, b"pkf1", host, seq, plain)
    assert packet[:8] == seq.to_bytes(8, "big")
    assert len(packet) == len(plain) + 24
    assert _core.open_sealed(key, b"pkf1", host, packet) == plain
    for wrong in ((bytes(16), b"pkf1", host), (key, b"pkf2", host), (key, b"pkf1", not host)):
        with pytest.raises(CryptoError):
            _core.open_sealed(*wrong, packet)
