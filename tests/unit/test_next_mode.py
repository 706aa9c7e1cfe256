"""Another source in mid-stream: it is ready with a picture, so that the one that went before is shown until then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from punktfunk.errors import MediaError
from punktfunk.host.stream import next_mode
from punktfunk.host.stream.next_mode import Built, NextMode
from punktfunk.media import EncoderConfig, RawFrame, TestCardSpec, VideoProducer, open_encoder
from punktfunk.media.sources.card import TestCardSource
from punktfunk.media.testcard import TestCard
from punktfunk.units import Mode
from tests.support.waiting import eventually

ENCODER = EncoderConfig(mode=Mode(640, 368, 60))


class Source:
    """A test card that gives some pictures, and then none."""

    self_paced = False

    def __init__(self, pictures: int) -> None:
        self._card = TestCardSource(TestCard(ENCODER.mode.resolution))
        self.left = pictures
        self.closed = False

    @property
    def counters(self) -> dict[str, int]:
        return {}

    def capture(self) -> RawFrame:
        if not self.left:
            raise MediaError("no picture came from node 51 of PipeWire", "is the screen still on?")
        self.left -= 1
        return self._card.capture()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """What is opened, which gives as many pictures as its parameter says."""
    opened = Source(request.param)
    monkeypatch.setattr(
        next_mode, "open_worker_producer", lambda *_: VideoProducer(opened, open_encoder(ENCODER))
    )
    return opened


def built(*, with_picture: bool) -> Built:
    mode = NextMode()
    assert mode.build(TestCardSpec(), ENCODER, with_picture=with_picture)
    done = eventually(mode.take, "it to be built")
    assert mode.build(TestCardSpec(), ENCODER), "another may follow"
    return done


@pytest.mark.parametrize("source", [0], indirect=True)
def test_a_source_without_a_picture_is_unavailable_and_closed(source: Source) -> None:
    done = built(with_picture=True)
    assert done.producer is None
    assert done.error is not None
    assert (done.error.cause, done.error.hint) == (
        "no picture came from node 51 of PipeWire",
        "is the screen still on?",
    )
    assert source.closed


@pytest.mark.parametrize("source", [1], indirect=True)
def test_one_that_goes_after_its_first_picture_can_be_held_at_once(source: Source) -> None:
    done = built(with_picture=True)
    assert done.error is None
    assert done.producer is not None
    assert source.left == 0
    assert done.producer.hold()
    assert done.producer.produce().key
    done.producer.close()


@pytest.mark.parametrize("source", [1], indirect=True)
def test_a_mode_is_ready_without_a_picture(source: Source) -> None:
    done = built(with_picture=False)
    assert done.producer is not None
    assert source.left == 1, "the capture before is asked until it is taken"
    assert not done.producer.hold()
    done.producer.close()
