"""Typed messages between a control process and its stream worker, over a SOCK_SEQPACKET pair.

A message is a frozen dataclass, sent as one JSON object with its class name. Its fields are plain values, enumerations
and dataclasses of such, which come out as what the field is declared as. File descriptors travel beside it
(SCM_RIGHTS). The end of either process is the end of file at the other: nothing else has to
be told. Both ends belong to this program, so an unknown message is a defect and raises.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeGuard, Union, get_args, get_origin, get_type_hints

from punktfunk.errors import ConfigError, SessionClosedError

_MAX_MESSAGE_BYTES = 1 << 17
_MAX_DESCRIPTORS = 4


class Channel:
    """One end of the pair; ``vocabulary`` lists the message classes that both ends know."""

    def __init__(self, end: socket.socket, vocabulary: Iterable[type[Any]]) -> None:
        self._socket = end
        self._classes = {kind.__name__: kind for kind in vocabulary}
        self._makers = {name: _maker(kind) for name, kind in self._classes.items()}

    @staticmethod
    def pair() -> tuple[socket.socket, socket.socket]:
        """Return the two ends; neither survives an exec unless it is passed on by name."""
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fileno(self) -> int:
        """Return the descriptor, for an event loop."""
        return self._socket.fileno()

    def send(self, message: Any, descriptors: Iterable[int] = ()) -> None:
        """Send one message.

        Raises ``SessionClosedError`` when the other end is gone or does not read, ``ConfigError`` for a message that it
        would not read whole.
        """
        payload = self._encoded(message)
        try:
            socket.send_fds(self._socket, [payload], list(descriptors))
        except OSError as error:
            raise SessionClosedError("the other end of the worker channel is gone") from error

    def offer(self, message: Any) -> bool:
        """Send one message unless that would have to wait; ``False`` when the other end reads too slowly.

        Raises as :meth:`send`.
        """
        payload = self._encoded(message)
        try:
            self._socket.send(payload, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            raise SessionClosedError("the other end of the worker channel is gone") from error
        return True

    def _encoded(self, message: Any) -> bytes:
        if self._classes.get(type(message).__name__) is not type(message):
            raise TypeError(f"{type(message).__name__} is not in this channel's vocabulary")
        payload = _ENCODER.encode({"message": type(message).__name__, **_values(message)}).encode()
        if len(payload) > _MAX_MESSAGE_BYTES:
            raise ConfigError(
                f"a worker is told {_MAX_MESSAGE_BYTES} bytes at once at most, and this is {len(payload)}",
                "give what it is about shorter names",
            )
        return payload

    def receive(self) -> tuple[Any, list[int]] | None:
        """Return the next message and its descriptors, ``None`` at the end of file.

        Raises ``BlockingIOError`` on a non-blocking channel without a message. The caller owns the
        descriptors.
        """
        try:
            payload, descriptors, _, _ = socket.recv_fds(self._socket, _MAX_MESSAGE_BYTES, _MAX_DESCRIPTORS)
        except ConnectionError:
            return None
        if not payload:
            return None
        values = json.loads(payload)
        return self._makers[values.pop("message")](values), descriptors

    def close(self) -> None:
        """Close this end; the other one reads the end of file."""
        self._socket.close()


def _values(message: Any) -> dict[str, Any]:
    """Return the fields of a message, or of a value in one. As they are: ``asdict`` would copy what is in them."""
    return {field.name: getattr(message, field.name) for field in fields(message)}


_ENCODER = json.JSONEncoder(default=_values)


def _maker(kind: type[Any]) -> Callable[[dict[str, Any]], Any]:
    """Return what makes a message of that class, or a value in one, from its fields' JSON values."""
    hints = get_type_hints(kind)
    made = {field.name: maker for field in fields(kind) if (maker := _field_maker(hints[field.name]))}

    def make(values: dict[str, Any]) -> Any:
        for name, maker in made.items():
            if values.get(name) is not None:
                values[name] = maker(values[name])
        return kind(**values)

    return make


def _field_maker(hint: Any) -> Callable[[Any], Any] | None:
    """Return what makes a field's value from its JSON value; ``None`` where that is the value already.

    Raises ``TypeError`` for a dataclass or an enumeration in a container or beside another type: it would come out as
    its JSON value.
    """
    of_union = get_origin(hint) in {Union, UnionType}
    one, *others = [part for part in (get_args(hint) if of_union else (hint,)) if part is not NoneType]
    if not others and _is_made(one):
        return one if issubclass(one, Enum) else _maker(one)
    if any(map(_is_made, _parts(hint))):
        raise TypeError(f"a field of {hint} would not come out of a channel as it went in")
    return None


def _is_made(hint: Any) -> TypeGuard[type[Any]]:
    return isinstance(hint, type) and not get_args(hint) and (is_dataclass(hint) or issubclass(hint, Enum))


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for part in get_args(hint):
        yield from _parts(part)
