"""The one place that decides how pictures get from their source to the encoder, and says why.

A picture in a DMA-BUF that the encoder imports is handed on without being looked at (zero-copy). Where the encoder
cannot, or something has to be done to each picture on its way, a linear one is mapped, and of others the source is
asked for pictures in memory. What a source may give and what an encoder refuses comes here; who takes a picture asks
here first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from punktfunk import log
from punktfunk.errors import DmaBufError, LayoutError
from punktfunk.media.dma_buf import LINEAR, PACKED, DmaBufImports, format_words
from punktfunk.printable import printable

_HINT: Final = "let the desktop copy its pictures into memory"
_MOST_WORDS: Final = 200
"""Characters of a driver's reason."""

POINTER_DRAWN: Final = "the pointer is drawn into the picture"
"""What has to be done to pictures whose pointer is told beside them, unless the client draws it."""


class Way(StrEnum):
    """How a picture gets to the encoder."""

    IMPORTED = "imported"
    """Its DMA-BUF is handed to the encoder: zero-copy."""
    MAPPED = "mapped"
    """Its DMA-BUF is mapped, and converted from there."""
    MEMORY = "memory"
    """It is converted where its source put it in memory."""
    COPIED = "copied"
    """It is read out of memory that its source could shorten, and then converted."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A way, and why it is that one."""

    way: Way
    reason: str

    def __str__(self) -> str:
        return f"{self.way} ({self.reason})"


@dataclass(frozen=True, slots=True)
class DmaBufOffers:
    """The DMA-BUFs that a source may give."""

    imported: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """Formats and modifiers that the encoder imports, of its size and whole; preferred to pictures in memory."""
    mapped: tuple[int, ...] = ()
    """Formats that are mapped where they are linear: for a source that has no pictures in memory."""


NO_DMA_BUFS: Final = DmaBufOffers()


class Handover:
    """Decides for one source and one encoder. For the thread that captures and encodes."""

    def __init__(self, encoder: str, imports: DmaBufImports | None, works: Sequence[str] = ()) -> None:
        """``works`` says in words what has to be done to each picture on its way, which nobody does in a DMA-BUF."""
        self.changes = 0
        """How often :attr:`offers` may have changed: something was refused, or is to be done to pictures no longer."""
        self.decision: Decision | None = None
        """What was decided of the last picture; None before the first."""
        self.refusal: DmaBufError | None = None
        """What was refused last."""
        self._encoder = encoder
        self._imports = imports
        self._works = dict.fromkeys(works, True)
        """What has to be done to pictures, and whether it has to be done now."""
        self._not_imported: dict[tuple[int, int], str] = {}
        self._not_mapped: dict[int, str] = {}
        self._decided_of: object = None
        """What the last picture was; one of the same kind goes the same way."""

    @property
    def offers(self) -> DmaBufOffers:
        """What a source may give now; less with each refusal."""
        mapped = tuple(code for code in PACKED if code not in self._not_mapped)
        if self._imports is None or self._work:
            return DmaBufOffers((), mapped)
        imported = (
            (code, tuple(each for each in modifiers if (code, each) not in self._not_imported))
            for code, modifiers in self._imports.modifiers.items()
        )
        return DmaBufOffers(tuple(each for each in imported if each[1]), mapped)

    def of_memory(self, *, copied: bool) -> Way:
        """Decide what becomes of a picture in memory; ``copied`` where its source could shorten that."""
        way = Way.COPIED if copied else Way.MEMORY
        if self._decided_of is not way:
            why = self._why_no_dma_buf()
            self._decide(way, way, f"its memory could be shortened meanwhile; {why}" if copied else why)
        return way

    def of_dma_buf(self, code: int, modifier: int, *, whole: bool = True) -> Way:
        """Decide what becomes of a picture in a DMA-BUF of that format and layout; raise LayoutError for nothing.

        ``whole`` is false where it is to be scaled, or only a part of it to be shown.
        """
        kind = code, modifier, whole
        if self._decided_of == kind and self.decision is not None:
            return self.decision.way
        obstacle = self._obstacle(code, modifier)
        if not (obstacle or whole):
            obstacle = "pictures are scaled, or a part of them is shown"
        if not obstacle:
            return self._decide(kind, Way.IMPORTED, f"{self._encoder} imports {format_words(code, modifier)}")
        refusal = self._not_mapped.get(code)
        if _is_readable(code, modifier) and refusal is None:
            return self._decide(kind, Way.MAPPED, obstacle)
        raise LayoutError(f"{obstacle}, and {refusal or _unread(code, modifier)}", _HINT)

    def refuse(self, code: int, modifier: int, why: str, *, mapped: bool = False) -> bool:
        """Take note that a picture of that kind was not imported, or could not be ``mapped``: none is offered again.

        Return whether that is new.
        """
        why = printable(why, _MOST_WORDS)
        if (code in self._not_mapped) if mapped else ((code, modifier) in self._not_imported):
            return False
        if mapped:
            self._not_mapped[code] = why
            self.refusal = DmaBufError(why, _HINT)
        else:
            self._not_imported[code, modifier] = why
            refusal = self._obstacle(code, modifier)
            unread = "" if _is_readable(code, modifier) else f", and {_unread(code, modifier)}"
            self.refusal = (LayoutError if unread else DmaBufError)(f"{refusal}{unread}", _HINT)
        self._decided_of = None
        self.changes += 1
        what = "mapped" if mapped else "imported"
        log.get("media").warning(f"a DMA-BUF is not {what}", format=format_words(code, modifier), cause=why)
        return True

    def need(self, work: str, needed: bool) -> None:
        """Take note whether one of the ``works`` has to be done from now on; others are never."""
        if self._works.get(work) is (not needed):
            self._works[work] = needed
            self._decided_of = None
            self.changes += 1

    @property
    def _work(self) -> str:
        """What has to be done to pictures now; "" for nothing."""
        return next((work for work, needed in self._works.items() if needed), "")

    def _obstacle(self, code: int, modifier: int) -> str:
        """Return why pictures of that kind are not imported; "" where they are."""
        if work := self._work:
            return work
        if self._imports is None:
            return f"{self._encoder} imports no DMA-BUFs"
        if (refusal := self._not_imported.get((code, modifier))) is not None:
            return f"{self._encoder} did not import {format_words(code, modifier)}: {refusal}"
        if not self._imports.takes(code, modifier):
            return f"{self._encoder} does not import {format_words(code, modifier)}"
        return ""

    def _why_no_dma_buf(self) -> str:
        """Return why a source gives pictures in memory."""
        if work := self._work:
            return work
        if self._imports is None:
            return f"{self._encoder} imports no DMA-BUFs"
        if self._not_imported:
            (code, modifier), refusal = next(reversed(self._not_imported.items()))
            return f"{self._encoder} did not import {format_words(code, modifier)}: {refusal}"
        return f"the desktop gives no DMA-BUF that {self._encoder} imports"

    def _decide(self, kind: object, way: Way, reason: str) -> Way:
        self._decided_of = kind
        self.decision = Decision(way, reason)
        return way


def _is_readable(code: int, modifier: int) -> bool:
    """Return whether a processor can read pictures of that kind."""
    return modifier == LINEAR and code in PACKED


def _unread(code: int, modifier: int) -> str:
    return f"a processor cannot read {format_words(code, modifier)}"
