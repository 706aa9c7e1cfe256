"""What is known of the encoders of GPUs: which are refused and why, how long that counts, and which are suspect.

A refusal that lasts (a codec that the GPU does not make, a GPU without an encoding engine) is kept. Any other may pass:
a driver that was not up yet, a machine too busy at its boot, a device that somebody else had. It is asked for again,
less and less often. A GPU that held or crashed a stream is suspect: it is left alone for a while, and has to prove
itself before it is taken again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from punktfunk.clock import monotonic_ns
from punktfunk.errors import CodecUnsupportedError, EngineMissingError, PunktfunkError
from punktfunk.media.encoders.base import EncoderName

Names = tuple[EncoderName, ...]
Asking = Callable[[Names], Mapping[EncoderName, PunktfunkError]]
"""Tries encoders of one kind, and returns why those are refused that are."""

LASTING: Final = (CodecUnsupportedError, EngineMissingError)
AGAIN_S: Final = 30.0
MAX_AGAIN_S: Final = 1800.0
"""How long a refusal that may pass counts: at first, then twice as long each time, and at most."""
SUSPECT_S: Final = 600.0
MAX_SUSPECT_S: Final = 7200.0
"""How long a GPU is left alone after a stream that it held or crashed: the first time, twice as long each further
time, and at most."""


@dataclass(slots=True)
class _Known:
    """What is known of the encoders of one kind."""

    refused: dict[EncoderName, PunktfunkError] = field(default_factory=dict)
    asked: bool = False
    again_ns: int = 0
    """When those may be asked again whose refusal may pass."""
    tries: int = 0
    """How often they were in a row."""
    suspicion: str = ""
    """What a stream met with, in words that follow an encoder's name; empty while there is none."""
    cleared_ns: int = 0
    """When a suspect may prove itself."""
    suspicions: int = 0
    asking: threading.Lock = field(default_factory=threading.Lock)
    """Held while somebody asks: nobody asks twice at a time."""

    def due(self, names: Names, now_ns: int) -> Names:
        """Return which of them are to be asked now."""
        if not self.asked:
            return names
        lasting = {name for name, error in self.refused.items() if isinstance(error, LASTING)}
        if self.suspicion and now_ns >= self.cleared_ns:
            return tuple(name for name in names if name not in lasting)
        if now_ns < self.again_ns:
            return ()
        return tuple(name for name in names if name in self.refused and name not in lasting)


class EncoderAnswers:
    """Asks encoders once, and again where their answer may have changed. Safe for several threads.

    ``families`` are the encoders of each kind, asked together by ``ask``, which may take 20 s.
    """

    def __init__(
        self, families: Mapping[str, Names], ask: Asking, now: Callable[[], int] = monotonic_ns
    ) -> None:
        self._families = families
        self._ask, self._now = ask, now
        self._known = {name: _Known() for name in families}

    def refusal(self, name: EncoderName) -> PunktfunkError | None:
        """Return why an encoder is refused, as far as is known; ask where nobody has yet."""
        family = self._family(name)
        known = self._known[family]
        if not known.asked:
            self._ask_family(family)
        return known.refused.get(name)

    def suspicion(self, name: EncoderName) -> str:
        """Return why an encoder is left alone, in words, though it is not refused; empty where it is not."""
        known = self._known[self._family(name)]
        return f"{name} {known.suspicion}" if known.suspicion else ""

    def suspect(self, name: EncoderName, what: str) -> float:
        """Leave the encoders of that GPU alone for a while; return for how many seconds.

        ``what`` has come of it, in words that follow the encoder's name: "stood still in a picture".
        """
        known = self._known[self._family(name)]
        length_s = min(SUSPECT_S * 2.0**known.suspicions, MAX_SUSPECT_S)
        known.suspicions += 1
        known.cleared_ns = self._now() + round(length_s * 1e9)
        known.suspicion = f"{what}, and is left alone for {length_s / 60:.0f} min"
        return length_s

    @property
    def due(self) -> bool:
        """Whether there is an answer that may have changed and may be asked for again."""
        now_ns = self._now()
        return any(
            known.asked and known.due(self._families[family], now_ns) for family, known in self._known.items()
        )

    def ask_again(self) -> dict[EncoderName, PunktfunkError | None]:
        """Ask for the answers that are due, which may take 20 s a GPU; return those that came, None for a good one."""
        told: dict[EncoderName, PunktfunkError | None] = {}
        for family, known in self._known.items():
            if known.asked:
                told.update(self._ask_family(family))
        return told

    def forget(self) -> None:
        """Know nothing of any encoder."""
        self._known = {name: _Known() for name in self._families}

    def _family(self, name: EncoderName) -> str:
        return next(family for family, names in self._families.items() if name in names)

    def _ask_family(self, family: str) -> dict[EncoderName, PunktfunkError | None]:
        known = self._known[family]
        with known.asking:
            began_ns = self._now()
            names = known.due(self._families[family], began_ns)
            if not names:
                return {}
            told = self._ask(names)
            refused = {name: error for name, error in known.refused.items() if name not in names}
            known.refused = {**refused, **told}
            wait_s = min(AGAIN_S * 2.0**known.tries, MAX_AGAIN_S)
            known.again_ns = self._now() + round(wait_s * 1e9)
            may_pass = any(not isinstance(error, LASTING) for error in told.values())
            known.tries = known.tries + 1 if may_pass else 0
            if known.suspicion and began_ns >= known.cleared_ns:
                # It has proven itself, or is refused from now on.
                known.suspicion = ""
            known.asked = True
            return {name: told.get(name) for name in names}
