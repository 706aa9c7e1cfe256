"""KWin's screencast: a PipeWire node of an output that there is, or of one that is made for it and goes with it.

Not here: who may (``grant``), how a node's pictures are taken (``capture``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.wayland.connection import Connection, Output
from punktfunk.desktop.wayland.kde import SCREENCAST
from punktfunk.errors import CapabilityError, DesktopError
from punktfunk.printable import MAX_PEER_CHARACTERS, printable

_VERSION: Final = 5
"""The newest that tells of a node by its number."""
_VIRTUAL_SINCE, _DESCRIBED_SINCE = 2, 4
_CURSOR_EMBEDDED, _CURSOR_METADATA = 2, 4
"""The pointer in the pictures, or told beside them."""
_SEPARATES_SINCE: Final = 6
"""KWin 6.7's. The one of 6.3 (version 5) tells the pointer, and has it in the pictures of an output without a plane for
it all the same."""
_STREAM_LIMIT_S: Final = 5.0
"""KWin answers in 5 to 20 ms; with OpenGL in software on a busy machine in half a second."""
_OUTPUT_LIMIT_S: Final = 2.0
_NO_NODE: Final = 0xFFFF_FFFF
"""What PipeWire has in place of the number of a node that is none."""
_DESCRIPTION: Final = "punktfunk"


class RefusedError(CapabilityError):
    """KWin made no stream, and said why."""


class Cast:
    """A stream of KWin's, which ends with :meth:`end`, and with it the output that was made for it."""

    def __init__(self, connection: Connection, proxy: Any) -> None:
        self._connection = connection
        self._proxy: Any = proxy
        self.node: int | None = None
        """The PipeWire node; None until KWin has told."""
        self.refusal: str | None = None
        self.ended = False
        """Whether KWin has ended it: its output has gone, or PipeWire."""
        self.output = ""
        """The output that is shown, as the compositor calls it."""
        self.virtual = False
        """Whether the output was made for this stream."""
        proxy.dispatcher["created"] = self._on_created
        proxy.dispatcher["failed"] = self._on_failed
        proxy.dispatcher["closed"] = self._on_closed

    def end(self) -> None:
        """End it; with a compositor that has gone it has ended already. Ending twice is harmless."""
        self.ended = True
        if self._proxy is not None:
            self._proxy.close()
            self._proxy = None
            with contextlib.suppress(DesktopError):
                self._connection.flush()

    def _on_created(self, _proxy: Any, node: int) -> None:
        if 0 <= node < _NO_NODE:
            self.node = node
        else:
            self.refusal = "it names no node of PipeWire"

    def _on_failed(self, _proxy: Any, words: str) -> None:
        self.refusal = printable(words, MAX_PEER_CHARACTERS)

    def _on_closed(self, _proxy: Any) -> None:
        self.ended = True


class Screencast:
    """Casts of one connection, which it does not own. Not safe for use by two threads at once."""

    def __init__(self, connection: Connection) -> None:
        """Take hold of the screencast; raise CapabilityError where the compositor offers none to this program."""
        self._connection = connection
        offered = connection.version_of(SCREENCAST)
        self.separates_cursor = offered >= _SEPARATES_SINCE
        """Whether pictures are without the pointer where it is told beside them."""
        self._version = min(_VERSION, offered)
        self._manager: Any = connection.bind(SCREENCAST, max(1, self._version))

    def of_output(self, output: Output, *, separate_cursor: bool = False) -> Cast:
        """Cast an output that there is; raise RefusedError where KWin refuses."""
        pointer = _pointer(separate_cursor=separate_cursor)
        cast = Cast(self._connection, self._manager.stream_output(output.proxy, pointer))
        cast.output = output.name
        return self._begun(cast)

    def of_new_output(
        self, name: str, size: tuple[int, int], scale: float = 1.0, *, separate_cursor: bool = False
    ) -> Cast:
        """Make an output of that size in pixels, which draws things larger by ``scale``, and cast it.

        Raises RefusedError where KWin refuses, or the output does not show up or has another size.
        """
        if self._version < _VIRTUAL_SINCE:
            raise RefusedError("this KWin makes no outputs")
        before = {output.number for output in self._connection.outputs}
        pointer = _pointer(separate_cursor=separate_cursor)
        shape = (*(round(length / scale) for length in size), float(scale), pointer)
        if self._version >= _DESCRIBED_SINCE:
            made = self._manager.stream_virtual_output_with_description(name, _DESCRIPTION, *shape)
        else:
            made = self._manager.stream_virtual_output(name, *shape)
        with contextlib.ExitStack() as unless_right:
            cast = self._begun(Cast(self._connection, made))
            unless_right.callback(cast.end)
            output = self._new_output(before, name)
            if (output.width, output.height) != size:
                raise RefusedError(f"it made an output of {output.width}x{output.height}")
            unless_right.pop_all()
        cast.output, cast.virtual = output.name, True
        return cast

    def _begun(self, cast: Cast) -> Cast:
        """Return it once it has begun; raise RefusedError where it does not."""
        try:
            self._wait(
                lambda: cast.node is not None or cast.refusal is not None or cast.ended, _STREAM_LIMIT_S
            )
        except BaseException:
            cast.end()
            raise
        if cast.node is not None and not cast.ended:
            return cast
        reason = cast.refusal or ("it ended before it began" if cast.ended else "it does not begin")
        cast.end()
        raise RefusedError(reason)

    def _new_output(self, before: set[int], name: str) -> Output:
        """Return the output that was made."""

        def found() -> Output | None:
            # KWin calls it "Virtual-" and the name. Another one may have been plugged in meanwhile.
            new = (each for each in self._connection.outputs if each.number not in before)
            return next((each for each in new if each.name.endswith(name)), None)

        self._wait(lambda: found() is not None, _OUTPUT_LIMIT_S)
        output = found()
        if output is None:
            raise RefusedError("an output was made and none has shown up")
        self._connection.round_trip()  # to have it described
        return output

    def _wait(self, over: Callable[[], bool], limit_s: float) -> None:
        deadline = monotonic_ns() + round(limit_s * 1e9)
        self._connection.flush()
        while not over():
            left = (deadline - monotonic_ns()) / 1e9
            if left <= 0:
                return
            self._connection.dispatch(left)


def _pointer(*, separate_cursor: bool) -> int:
    return _CURSOR_METADATA if separate_cursor else _CURSOR_EMBEDDED
