"""The loss that a Moonlight client's words add up to, however they lie."""

from __future__ import annotations

import pytest

from punktfunk.gamestream.control import FecStatus
from punktfunk.gamestream.damage import LOST_BLOCK_PPM, DamageSum
from punktfunk.host.stream.adaptive_fec import MAX_FEC_PERCENT, FecChoice

SAMPLE = FecStatus(1, 0x2E, 0x0A, 6, 44, 3, 38, 3, 5, 0, 1)
"""Section 8.3: of 44 data packets 38 came, and all 3 of recovery; the block is lost."""


def mended(lost: int, data: int = 40, parity: int = 8) -> FecStatus:
    """A block that was whole with its last data packet or one of recovery; what follows it is still on its way."""
    return FecStatus(1, data + lost, 0, lost, data, parity, data - lost, lost, 20, 0, 1)


def test_lost_packets_are_set_against_what_was_sent_meanwhile() -> None:
    damage = DamageSum()
    assert damage.take(mended(2))
    assert damage.take(mended(1))
    assert damage.loss_ppm(3000) == 1000
    assert damage.loss_ppm(3000) == 0, "each word counts once"


def test_a_lost_block_counts_what_is_missing_at_its_end_too_and_weighs_more() -> None:
    damage = DamageSum()
    assert damage.take(SAMPLE)
    assert damage.loss_ppm(600) == 10_000 + LOST_BLOCK_PPM
    tail = FecStatus(1, 20, 20, 0, 44, 3, 20, 0, 5, 0, 1)
    assert damage.take(tail)
    assert damage.loss_ppm(2700) == 10_000 + LOST_BLOCK_PPM


def test_no_more_is_lost_than_the_share_of_the_blocks_that_were_spoken_of() -> None:
    damage = DamageSum()
    damage.take(mended(4))
    assert damage.loss_ppm(0) == round(4e6 / 44)


@pytest.mark.parametrize(
    "status",
    [
        FecStatus(1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 1),
        FecStatus(1, 0, 0, 0, 0xFFFF, 0, 0, 0, 20, 0, 1),
        FecStatus(1, 0, 0, 0, 1000, 1000, 0, 0, 20, 0, 1),
        FecStatus(1, 0, 0, 0, 10, 2, 11, 0, 20, 0, 1),
        FecStatus(1, 0, 0, 0, 10, 2, 0, 3, 20, 0, 1),
    ],
)
def test_what_cannot_have_been_is_not_counted(status: FecStatus) -> None:
    damage = DamageSum()
    assert not damage.take(status)
    assert damage.loss_ppm(0) == 0


def test_a_client_that_lies_gets_the_most_there_is_and_no_more() -> None:
    damage, choice = DamageSum(), FecChoice(20, 20)
    for _ in range(10_000):
        damage.take(FecStatus(2**32 - 1, 0xFFFF, 0xFFFF, 0xFFFF, 1023, 0, 0, 0, 255, 255, 255))
    lied = damage.loss_ppm(0)
    assert lied == 1_000_000
    assert choice.reported(lied, 1000) == MAX_FEC_PERCENT
    # And one that says that nothing is lost, the floor.
    assert {choice.reported(damage.loss_ppm(1e6), 1000 * n) for n in range(2, 60)} >= {20}
    assert choice.reported(0, 10**6) == 20
