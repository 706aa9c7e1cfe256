"""Rich's console for tables and colours, in which nothing from outside acts on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from punktfunk.printable import printable_lines


class Console(rich.console.Console):  # noqa: TID251 - the one place that wraps it
    """A console whose texts are made printable after they were laid out: only rich itself sends escapes."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of something that can be shown."""
        for segment in super().render(renderable, options):
            if segment.control or (segment.text.isascii() and segment.text.isprintable()):
                yield segment
            else:
                yield segment._replace(text=printable_lines(segment.text))
