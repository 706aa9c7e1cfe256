"""What a stream shows whose source has gone: its last picture, dark, with words on it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from punktfunk.errors import MediaError, SourceLostError
from punktfunk.media import EncoderConfig, RawFrame, VideoProducer, open_encoder
from punktfunk.media.planes import plane_view
from punktfunk.media.sources.card import TestCardSource
from punktfunk.media.sources.still import WORDS, StillSource
from punktfunk.media.testcard import TestCard
from punktfunk.units import Mode

MODE = Mode(640, 368, 60)


class Ending:
    """A test card that ends after some pictures."""

    self_paced = False

    def __init__(self, pictures: int) -> None:
        self._card = TestCardSource(TestCard(MODE.resolution))
        self._left = pictures
        self.closed = False

    @property
    def counters(self) -> Mapping[str, int]:
        return {}

    def capture(self) -> RawFrame:
        if not self._left:
            raise MediaError("the compositor has gone", "start it again")
        self._left -= 1
        return self._card.capture()

    def close(self) -> None:
        self.closed = True


def test_the_last_picture_is_darker_and_has_the_words_on_it() -> None:
    last = TestCardSource(TestCard(MODE.resolution)).capture()
    before = last.luma.copy()
    with_words = StillSource(last).capture()
    without = StillSource(last, "").capture()
    luma = plane_view(with_words.picture, 0)
    assert (last.luma == before).all(), "the picture of the source is left alone"
    assert without.luma.max() < before.max() // 2
    letters = luma == 235
    assert letters.sum() > 20 * len(WORDS)
    rows = np.flatnonzero(letters.any(axis=1))
    assert MODE.height // 3 < rows[0] < rows[-1] < 2 * MODE.height // 3
    assert with_words.frame == -1


def test_a_picture_that_is_too_small_for_words_has_none() -> None:
    last = TestCardSource(TestCard(Mode(480, 272, 60).resolution)).capture()
    assert (StillSource(last, WORDS * 10).capture().luma < 235).all()


def test_a_producer_goes_on_with_the_last_picture_of_a_source_that_has_gone() -> None:
    source = Ending(pictures=2)
    producer = VideoProducer(source, open_encoder(EncoderConfig(mode=MODE)))
    assert not _holds_before_a_picture(Ending(0))
    for _ in range(2):
        producer.produce()
    with pytest.raises(SourceLostError, match="compositor has gone") as lost:
        producer.produce()
    assert lost.value.hint == "start it again"
    assert producer.hold()
    assert source.closed
    assert producer.self_paced
    assert producer.produce().frame == -1
    assert producer.counters == {"still": 1}
    producer.close()


def _holds_before_a_picture(source: Ending) -> bool:
    """Return whether a producer has something to hold before its first picture."""
    producer = VideoProducer(source, open_encoder(EncoderConfig(mode=MODE)))
    try:
        with pytest.raises(SourceLostError):
            producer.produce()
        return producer.hold()
    finally:
        producer.close()
