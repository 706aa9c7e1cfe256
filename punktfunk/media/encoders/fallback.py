"""An encoder that hands over to the next one of its codec when it is refused or fails, without losing a picture."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from punktfunk.errors import (
    CodecUnavailableError,
    EncoderFailedError,
    ImportRefusedError,
    PunktfunkError,
)
from punktfunk.media.dma_buf import DmaBufImports
from punktfunk.media.encoders.base import Encoder, EncoderConfig, EncoderName, RateChange
from punktfunk.media.types import AccessUnit, Codec, RawFrame
from punktfunk.units import Bitrate

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Replacement:
    """One encoder took over from another, and why."""

    former: EncoderName
    successor: EncoderName
    error: PunktfunkError
    """What was wrong with the former one, and what to do about it."""


class FallbackEncoder:
    """The first of a configuration's encoders that works; see :class:`~punktfunk.media.encoders.base.Encoder`.

    It tries ``config.encoder`` and then ``config.fallbacks``, each once. The picture on which one fails is encoded by
    the next, as a key frame; what asks for too much (a size, a rate) is raised and changes nothing.
    """

    def __init__(self, config: EncoderConfig, opener: Callable[[EncoderConfig], Encoder]) -> None:
        """Open the first that opens; raise what the last of them raises."""
        self._config = config.model_copy(update={"fallbacks": ()})
        self._left = list(config.fallbacks)
        self._opener = opener
        self._replacements: list[Replacement] = []
        self._encoder = self._open()
        self.imports: DmaBufImports | None = self._encoder.imports
        """Those of the first that opened: what a successor does not import is refused when it comes."""

    @property
    def name(self) -> EncoderName:
        """That of the encoder that works now."""
        return self._encoder.name

    @property
    def codec(self) -> Codec:
        """The same of all of them."""
        return self._encoder.codec

    @property
    def bitrate(self) -> Bitrate:
        """The rate it aims at now."""
        return self._encoder.bitrate

    @property
    def replacements(self) -> tuple[Replacement, ...]:
        """Which encoders took over from others so far, in order."""
        return tuple(self._replacements)

    def encode(self, frame: RawFrame, *, key: bool = False) -> AccessUnit:
        """Encode one picture, by the next encoder where this one fails; raise what the last one raises."""
        if (given := frame.dma_buf) is not None:
            imports = self._encoder.imports
            if imports is None or not imports.takes(given.fourcc, given.modifier):
                raise ImportRefusedError(f"{self.name} does not import it")
        try:
            return self._encoder.encode(frame, key=key)
        except EncoderFailedError as error:
            self._hand_over(error)
        # Whatever was asked for, the first picture of an encoder is a key frame.
        return self.encode(frame)

    def set_bitrate(self, bitrate: Bitrate) -> RateChange:
        """Aim at a new rate; ``REOPENED`` where another encoder does so from now on."""
        outcome = self._tried({"bitrate": bitrate}, lambda: self._encoder.set_bitrate(bitrate))
        self._config = self._config.model_copy(update={"bitrate": bitrate})
        return outcome

    def set_frame_rate(self, refresh_hz: int) -> RateChange:
        """Expect another frame rate; ``REOPENED`` where another encoder does so from now on."""
        mode = replace(self._config.mode, refresh_hz=refresh_hz)
        outcome = self._tried({"mode": mode}, lambda: self._encoder.set_frame_rate(refresh_hz))
        self._config = self._config.model_copy(update={"mode": mode})
        return outcome

    def close(self) -> None:
        """Free the encoder that works now."""
        self._encoder.close()

    def _tried(self, changes: dict[str, object], change: Callable[[], RateChange]) -> RateChange:
        try:
            return change()
        except (CodecUnavailableError, EncoderFailedError) as error:
            self._config = self._config.model_copy(update=changes)
            self._hand_over(error)
            return RateChange.REOPENED

    def _hand_over(self, error: PunktfunkError) -> None:
        """Go over to the next encoder that opens; raise ``error`` where none is left."""
        if not self._left:
            raise error
        with contextlib.suppress(Exception):
            # It has failed; whatever else its library says when it is freed is no news.
            self._encoder.close()
        self._succeed(error)
        self._encoder = self._open()

    def _open(self) -> Encoder:
        while True:
            try:
                return self._opener(self._config)
            except CodecUnavailableError as error:
                if not self._left:
                    raise
                self._succeed(error)

    def _succeed(self, error: PunktfunkError) -> None:
        former, successor = self._config.encoder, self._left.pop(0)
        self._config = self._config.model_copy(update={"encoder": successor})
        self._replacements.append(Replacement(former, successor, error))
