"""What FFmpeg's scaler is told to make pictures of certain colours."""

from __future__ import annotations

from typing import Final, TypedDict

from av.video.reformatter import ColorRange, Colorspace

from punktfunk.media.types import Colours

_SPACES: Final = {"bt601": Colorspace.ITU601, "bt709": Colorspace.ITU709, "bt2020": Colorspace.BT2020}


class Destination(TypedDict):
    """Arguments of ``VideoReformatter.reformat``."""

    dst_colorspace: Colorspace
    dst_color_range: ColorRange


def destination(colours: Colours) -> Destination:
    """Return the arguments that ask for these colours."""
    return {
        "dst_colorspace": _SPACES[colours.space],
        "dst_color_range": ColorRange.JPEG if colours.full_range else ColorRange.MPEG,
    }
