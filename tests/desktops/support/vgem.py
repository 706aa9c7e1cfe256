"""The stand-in for a DRM node of machines that have none: given to KWin alone (see ``vgem.c``)."""

from __future__ import annotations

from tests.desktops.support.preload import library


def with_graphics() -> dict[str, str]:
    """Return what a compositor needs in its environment to render by OpenGL on no graphics card.

    Its clients must not have it: they would each have a node of their own.
    """
    return {"LD_PRELOAD": str(library("vgem")), "GBM_ALWAYS_SOFTWARE": "1", "LIBGL_ALWAYS_SOFTWARE": "1"}
