"""Pictures of apps, drawn from their titles (gamestream section 4.2)."""

from __future__ import annotations

import hashlib
import io
import textwrap
from functools import lru_cache

WIDTH, HEIGHT = 600, 800
"""The usual shape; 130x180 and 628x888 would be taken for the placeholders of another host."""
_MARGIN = 48
_LARGEST, _SMALLEST = 96, 24


@lru_cache(maxsize=64)
def box_art(title: str) -> bytes:
    """Return a picture as PNG. It takes some milliseconds and may be called in any thread."""
    # A sixth of a second of imports, which nobody pays who serves no Moonlight client.
    from PIL import Image, ImageDraw, ImageFont

    shade = hashlib.sha256(title.encode(errors="replace")).digest()
    image = Image.new("RGB", (WIDTH, HEIGHT), (32 + shade[0] // 4, 32 + shade[1] // 4, 32 + shade[2] // 4))
    draw = ImageDraw.Draw(image)
    for size in range(_LARGEST, _SMALLEST - 1, -8):
        font = ImageFont.load_default(size)
        text = "\n".join(textwrap.wrap(title, (WIDTH - 2 * _MARGIN) * 2 // size))
        left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font, align="center")
        if right - left <= WIDTH - 2 * _MARGIN and bottom - top <= HEIGHT - 2 * _MARGIN:
            break
    draw.rectangle((16, 16, WIDTH - 17, HEIGHT - 17), outline=(255, 255, 255), width=4)
    draw.multiline_text((WIDTH / 2, HEIGHT / 2), text, "white", font, anchor="mm", align="center")
    made = io.BytesIO()
    image.save(made, "PNG", optimize=False)
    return made.getvalue()
