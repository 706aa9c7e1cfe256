"""Cases over a live link: it is proven before anybody streams, which a machine without time for it does not pass.

Such a refusal says nothing of the code where the case waited behind other programs
(:class:`tests.support.measuring.Beside`): it is begun again. On a quiet machine the first refusal stands, and so does
every other result. Only what comes after the proof is judged, so a test of a case need not be one that measures.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from tests.support.measuring import Beside

REFUSED: Final = "link not verified: "
"""How the reason of a case begins whose link was not as asked."""
PROOF_FOR_S: Final = 120.0
"""No further try begins after this long."""

T = TypeVar("T")


def once_proven(
    run: Callable[[Path], T], reason: Callable[[T], str], folder: Path, *, meant: str = "", late: str = ""
) -> T:
    """Return what ``run`` makes of a new folder below ``folder``, of a link that this machine had the time to prove.

    ``reason`` takes the reason of the case out of it; a refusal that says what is ``meant`` is what the test is about.
    A reason that says what is ``late`` is excused as a refusal is: of a limit that a test keeps short.
    """
    begun = time.monotonic()
    for number in itertools.count():
        place = folder / f"try-{number}"
        place.mkdir()
        with Beside() as beside:
            found = run(place)
        said = reason(found)
        excused = said.startswith(REFUSED) and not (meant and meant in said)
        if late:
            excused |= late in said
        if not (excused and beside.too_busy) or time.monotonic() - begun > PROOF_FOR_S:
            return found
    raise AssertionError("unreachable")
