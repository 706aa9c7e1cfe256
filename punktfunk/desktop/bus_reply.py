"""What a call on the bus was answered: values and descriptors, or an error by its name.

Not here: the connection that is called by (``session_bus``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from punktfunk.errors import DesktopError
from punktfunk.printable import MAX_PEER_CHARACTERS, printable

if TYPE_CHECKING:
    from dbus_fast import Message


class BusError(DesktopError):
    """A call that was answered by an error; ``name`` is what D-Bus calls it: ``org.freedesktop.DBus.Error.Failed``."""

    def __init__(self, cause: str, hint: str = "", *, name: str = "") -> None:
        super().__init__(cause, hint)
        self.name = name


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call returned. The descriptors belong to whoever called, who closes them; ``h`` in a body is an index."""

    body: tuple[Any, ...]
    descriptors: tuple[int, ...] = ()
    what: str = ""
    """The method."""

    @property
    def value(self) -> Any:
        """The first value; raises DesktopError where there is none: who answers may be anybody."""
        if not self.body:
            raise DesktopError(f"the session bus has answered {self.what} without a value")
        return self.body[0]


def reply_of(answer: Message | None, what: str, *, takes_descriptors: bool) -> Reply:
    """Return what an answer says; raise BusError where it is an error, whose descriptors are nobody's."""
    from dbus_fast import MessageType
    from dbus_fast.unpack import unpack_variants

    if answer is None:
        raise DesktopError("the session bus has gone", "is the desktop session still there?")
    is_error = answer.message_type is MessageType.ERROR
    if is_error or not takes_descriptors:
        for descriptor in answer.unix_fds:
            os.close(descriptor)
    if is_error:
        name = printable(answer.error_name or "", MAX_PEER_CHARACTERS)
        said = next((text for text in answer.body if isinstance(text, str)), "")
        words = printable(said, MAX_PEER_CHARACTERS)
        raise BusError(f"{what}: {name}" + (f": {words}" if words else ""), name=name)
    return Reply(
        tuple(unpack_variants(list(answer.body))), tuple(answer.unix_fds) if takes_descriptors else (), what
    )
