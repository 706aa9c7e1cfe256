"""Encoders that take over from others: in the stated order, without losing a picture, and with the reason told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from punktfunk.errors import (
    CodecUnavailableError,
    CodecUnsupportedError,
    DeviceMissingError,
    DriverMissingError,
    EncoderFailedError,
    ImportRefusedError,
    MediaError,
    UnitError,
)
from punktfunk.media import (
    AccessUnit,
    Codec,
    Encoder,
    EncoderConfig,
    EncoderName,
    RateChange,
    RawFrame,
    TestCardSpec,
    VideoProducer,
    choose_encoder,
    open_encoder,
    open_producer,
)
from punktfunk.media.decoders import open_decoder
from punktfunk.media.dma_buf import LINEAR, NV12, Descriptors, DmaBuf, DmaBufImports
from punktfunk.media.encoders import choice, nvenc, vaapi
from punktfunk.media.encoders.choice import ANSWERS, ORDER
from punktfunk.media.encoders.fallback import FallbackEncoder
from punktfunk.media.encoders.x264 import X264Encoder
from punktfunk.media.sources.card import TestCardSource
from punktfunk.media.testcard import TestCard
from punktfunk.units import Bitrate, Mode

MODE = Mode(480, 272, 60)
CHAIN = ORDER[Codec.H264]


class Failing:
    """x264 that fails on one picture, or on the first change of a rate, in another encoder's name."""

    codec = Codec.H264
    imports: DmaBufImports | None = None

    def __init__(self, config: EncoderConfig, fails_at: int | None) -> None:
        self.name = config.encoder
        self._x264 = X264Encoder(config.model_copy(update={"encoder": EncoderName.X264}))
        self._fails_at = fails_at
        self._pictures = 0
        self.closed = 0

    @property
    def bitrate(self) -> Bitrate:
        return self._x264.bitrate

    def encode(self, frame: RawFrame, *, key: bool = False) -> AccessUnit:
        if self._pictures == self._fails_at:
            raise EncoderFailedError(f"{self.name} failed on frame {frame.frame}: the GPU is lost")
        self._pictures += 1
        return self._x264.encode(frame, key=key)

    def set_bitrate(self, bitrate: Bitrate) -> RateChange:
        raise EncoderFailedError(f"{self.name} does not take {bitrate}")

    def set_frame_rate(self, refresh_hz: int) -> RateChange:
        raise CodecUnavailableError(f"{self.name} cannot be opened at {refresh_hz} Hz")

    def close(self) -> None:
        self.closed += 1
        raise RuntimeError("a library that is freed after a failure says so")


def opener(
    behaviour: dict[EncoderName, int | Exception | None], opened: list[Encoder]
) -> Callable[[EncoderConfig], Encoder]:
    """Open encoders that fail on the named picture, are refused with an error, or (unnamed) are x264."""

    def open_one(config: EncoderConfig) -> Encoder:
        wrong = behaviour.get(config.encoder, -1)
        if isinstance(wrong, Exception):
            raise wrong
        made: Encoder
        if config.encoder is EncoderName.X264 and wrong == -1:
            made = X264Encoder(config)
        else:
            made = Failing(config, None if wrong is None else int(wrong))
        opened.append(made)
        return made

    return open_one


def chained(behaviour: dict[EncoderName, int | Exception | None]) -> tuple[FallbackEncoder, list[Encoder]]:
    opened: list[Encoder] = []
    config = EncoderConfig(encoder=CHAIN[0], fallbacks=CHAIN[1:], mode=MODE, bitrate=Bitrate(2_000_000))
    return FallbackEncoder(config, opener(behaviour, opened)), opened


def test_the_order_is_nvenc_then_vaapi_then_software_for_every_codec() -> None:
    assert {codec: [str(name) for name in names] for codec, names in ORDER.items()} == {
        Codec.H264: ["nvenc-h264", "vaapi-h264", "x264"],
        Codec.HEVC: ["nvenc-hevc", "vaapi-hevc", "x265"],
        Codec.AV1: ["nvenc-av1", "vaapi-av1", "svt-av1"],
    }


@pytest.mark.parametrize("codec", list(Codec))
def test_what_this_machine_lacks_is_passed_over_for_real(codec: Codec) -> None:
    """No double: each stage is refused by the library that is missing here, or works."""
    first, *rest = ORDER[codec]
    encoder = open_encoder(EncoderConfig(encoder=first, fallbacks=tuple(rest), mode=MODE))
    assert isinstance(encoder, FallbackEncoder)
    passed = [(each.former, each.successor) for each in encoder.replacements]
    assert passed == list(zip(ORDER[codec], ORDER[codec][1:], strict=False))[: len(passed)]
    assert encoder.name is ORDER[codec][len(passed)]
    for each in encoder.replacements:
        assert isinstance(each.error, CodecUnavailableError)
        assert each.error.hint
    unit = encoder.encode(TestCardSource(TestCard(MODE.resolution)).capture())
    assert unit.key
    assert encoder.codec is codec
    encoder.close()


def test_a_picture_on_which_an_encoder_fails_is_the_next_ones_key_frame_and_none_is_lost() -> None:
    nvenc_h264, vaapi_h264, x264 = CHAIN
    chain, opened = chained({nvenc_h264: 3, vaapi_h264: 4})
    source, decoder = TestCardSource(TestCard(MODE.resolution)), open_decoder(Codec.H264)
    names, keys = [], []
    for number in range(12):
        unit = chain.encode(source.capture(), key=number == 0)
        assert unit.frame == number
        decoded = decoder.decode(unit.data)
        assert decoded is not None
        assert not decoded.concealed
        names.append(chain.name)
        if unit.key:
            keys.append(number)
    assert names == [nvenc_h264] * 3 + [vaapi_h264] * 4 + [x264] * 5
    assert keys == [0, 3, 7]
    assert [(each.former, each.successor) for each in chain.replacements] == [
        (nvenc_h264, vaapi_h264),
        (vaapi_h264, x264),
    ]
    assert "failed on frame 7: the GPU is lost" in chain.replacements[1].error.cause
    assert [made.closed for made in opened[:2] if isinstance(made, Failing)] == [1, 1]
    chain.close()


def test_one_that_is_refused_in_the_middle_of_a_stream_is_passed_over() -> None:
    refusal = DeviceMissingError("the GPU has gone")
    chain, opened = chained({CHAIN[0]: 0, CHAIN[1]: refusal})
    chain.encode(TestCardSource(TestCard(MODE.resolution)).capture())
    assert chain.name is EncoderName.X264
    assert len(opened) == 2
    assert [type(each.error) for each in chain.replacements] == [EncoderFailedError, DeviceMissingError]


def test_the_last_of_a_chain_fails_with_its_own_error() -> None:
    refusals = {name: DriverMissingError(f"no {name}") for name in CHAIN}
    with pytest.raises(DriverMissingError, match="no x264"):
        chained(dict(refusals))
    chain, _ = chained({CHAIN[0]: CodecUnsupportedError("not that codec"), CHAIN[1]: 0, CHAIN[2]: 0})
    with pytest.raises(EncoderFailedError, match="x264 failed on frame 0"):
        chain.encode(TestCardSource(TestCard(MODE.resolution)).capture())
    with pytest.raises(EncoderFailedError, match="x264 failed on frame 0"):
        chain.encode(TestCardSource(TestCard(MODE.resolution)).capture())


def test_a_rate_that_an_encoder_does_not_take_is_the_next_ones() -> None:
    chain, _ = chained({CHAIN[0]: None, CHAIN[1]: None})
    source = TestCardSource(TestCard(MODE.resolution))
    assert chain.encode(source.capture()).key
    assert chain.set_bitrate(Bitrate(1_500_000)) is RateChange.REOPENED
    assert (chain.name, chain.bitrate) == (CHAIN[1], Bitrate(1_500_000))
    assert chain.encode(source.capture()).key
    assert chain.set_frame_rate(30) is RateChange.REOPENED
    assert (chain.name, chain.bitrate) == (EncoderName.X264, Bitrate(1_500_000))
    with pytest.raises(UnitError):
        chain.set_bitrate(Bitrate(1000))
    assert chain.bitrate == Bitrate(1_500_000), "what nobody could do is no failure of an encoder"
    assert len(chain.replacements) == 2
    chain.close()
    chain.close()
    with pytest.raises(MediaError, match="closed"):
        chain.encode(source.capture())


def test_a_frame_of_another_size_is_the_callers_and_no_encoder_is_given_up() -> None:
    chain, _ = chained({CHAIN[0]: CodecUnavailableError("no"), CHAIN[1]: CodecUnavailableError("no")})
    with pytest.raises(MediaError, match="640x368") as caught:
        chain.encode(TestCardSource(TestCard(Mode(640, 368, 60).resolution)).capture())
    assert not isinstance(caught.value, EncoderFailedError)
    assert chain.name is EncoderName.X264


def test_a_successor_that_does_not_import_a_dma_buf_refuses_it_and_goes_on_with_memory() -> None:
    chain, opened = chained({CHAIN[0]: 1, CHAIN[1]: DeviceMissingError("gone")})
    first = opened[0]
    assert isinstance(first, Failing)
    assert chain.imports is None
    buffer = DmaBuf(MODE.width, MODE.height, NV12, LINEAR, (), Descriptors(()))
    source = TestCardSource(TestCard(MODE.resolution))
    with pytest.raises(ImportRefusedError, match="nvenc-h264"):
        chain.encode(RawFrame(buffer, 0, 0))
    first.imports = DmaBufImports({NV12: (LINEAR,)})
    chain.encode(source.capture())
    chain.encode(source.capture())
    assert chain.name is EncoderName.X264
    with pytest.raises(ImportRefusedError, match="x264 does not import it"):
        chain.encode(RawFrame(buffer, 2, 0))
    assert not chain.encode(source.capture()).key, "what was refused is as if it had not been"


def test_a_producer_tells_of_its_encoders_replacements_and_one_without_has_none() -> None:
    config = EncoderConfig(encoder=EncoderName.X264, mode=MODE)
    plain = open_producer(TestCardSpec(), config)
    assert plain.replacements == ()
    plain.close()
    chain, _ = chained({CHAIN[0]: 1, CHAIN[1]: DeviceMissingError("gone")})
    producer = VideoProducer(TestCardSource(TestCard(MODE.resolution)), chain)
    producer.produce()
    assert (producer.encoder, producer.replacements) == ("nvenc-h264", ())
    producer.produce()
    assert producer.encoder == "x264"
    assert len(producer.replacements) == 2
    producer.close()


@pytest.fixture
def gpu_encoders(monkeypatch: pytest.MonkeyPatch) -> dict[EncoderName, CodecUnavailableError | None]:
    """What proving an encoder of a GPU comes to: an error, or None where it works."""
    answers: dict[EncoderName, CodecUnavailableError | None] = {}

    def required(name: EncoderName) -> None:
        error = answers[name]
        if error is not None:
            raise error

    monkeypatch.setattr(choice, "require_gpu_encoder", required)
    return answers


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    ANSWERS.forget()
    yield
    ANSWERS.forget()


def test_auto_takes_the_first_that_works_and_names_those_before_and_behind_it(
    gpu_encoders: dict[EncoderName, CodecUnavailableError | None],
) -> None:
    nvenc_h264, vaapi_h264, x264 = CHAIN
    gpu_encoders.update({nvenc_h264: None, vaapi_h264: None})
    first = choose_encoder(Codec.H264)
    assert (first.name, first.fallbacks) == (nvenc_h264, (vaapi_h264, x264))
    gpu_encoders[nvenc_h264] = CodecUnavailableError("opening nvenc-h264 ends its process with signal 11")
    second = choose_encoder(Codec.H264)
    assert (second.name, second.fallbacks) == (vaapi_h264, (x264,))
    assert str(second) == (
        "vaapi-h264 (the GPU encodes it; opening nvenc-h264 ends its process with signal 11)"
    )
    gpu_encoders[vaapi_h264] = DeviceMissingError("no GPU")
    third = choose_encoder(Codec.H264)
    assert (third.name, third.fallbacks) == (x264, ())
    assert third.reason == "opening nvenc-h264 ends its process with signal 11; no GPU"


def test_auto_passes_over_a_gpu_that_held_a_stream_and_a_wish_by_name_does_not(
    gpu_encoders: dict[EncoderName, CodecUnavailableError | None],
) -> None:
    nvenc_h264, vaapi_h264, x264 = CHAIN
    gpu_encoders.update({nvenc_h264: None, vaapi_h264: None, EncoderName.NVENC_HEVC: None})
    # One codec's encoder has hung, and all codecs are of that GPU.
    assert ANSWERS.suspect(EncoderName.NVENC_HEVC, "stood still in a picture") == 600
    chosen = choose_encoder(Codec.H264)
    why = "nvenc-h264 stood still in a picture, and is left alone for 10 min"
    assert (chosen.name, chosen.fallbacks, chosen.left_alone) == (vaapi_h264, (x264,), (why,))
    assert str(chosen) == f"vaapi-h264 (the GPU encodes it; {why})"
    assert choose_encoder(Codec.H264, "nvenc").name == nvenc_h264
    assert choose_encoder(Codec.H264, "x264").left_alone == ()
    ANSWERS.suspect(vaapi_h264, "stood still in a picture")
    ANSWERS.forget()
    ANSWERS.suspect(vaapi_h264, "stood still in a picture")
    assert choose_encoder(Codec.H264).fallbacks == (x264,), "nor does it take over from another one"


def test_what_is_asked_for_by_name_has_no_successor_and_is_an_error_where_it_is_missing(
    gpu_encoders: dict[EncoderName, CodecUnavailableError | None],
) -> None:
    gpu_encoders.update({EncoderName.VAAPI_HEVC: None, EncoderName.NVENC_HEVC: EngineError})
    chosen = choose_encoder(Codec.HEVC, "vaapi")
    assert (chosen.name, chosen.reason, chosen.fallbacks) == (EncoderName.VAAPI_HEVC, "asked for", ())
    with pytest.raises(CodecUnsupportedError, match="no HEVC"):
        choose_encoder(Codec.HEVC, "nvenc")
    assert str(choose_encoder(Codec.AV1, "x264")) == "svt-av1 (asked for)"


EngineError = CodecUnsupportedError("no HEVC")


def test_the_device_is_asked_for_before_a_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise DeviceMissingError("no GPU")

    monkeypatch.setattr(vaapi, "require_device", missing)
    monkeypatch.setattr(nvenc, "require_libraries", missing)
    monkeypatch.setattr(choice, "check_isolated", lambda _names: pytest.fail("a process was started"))
    for name in CHAIN[:2]:
        with pytest.raises(DeviceMissingError):
            choice.require_gpu_encoder(name)
    ANSWERS.forget()
    asked: list[tuple[EncoderName, ...]] = []

    def checked(names: tuple[EncoderName, ...]) -> dict[EncoderName, CodecUnavailableError]:
        asked.append(names)
        return {EncoderName.VAAPI_AV1: CodecUnsupportedError("no AV1", "another codec")}

    monkeypatch.setattr(vaapi, "require_device", lambda: None)
    monkeypatch.setattr(choice, "check_isolated", checked)
    choice.require_gpu_encoder(EncoderName.VAAPI_H264)
    with pytest.raises(CodecUnsupportedError, match="no AV1") as caught:
        choice.require_gpu_encoder(EncoderName.VAAPI_AV1)
    assert caught.value.hint == "another codec"
    assert set(asked) == {(EncoderName.VAAPI_H264, EncoderName.VAAPI_HEVC, EncoderName.VAAPI_AV1)}
