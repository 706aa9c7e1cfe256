"""Wayland interfaces from one-line declarations.

pywayland brings the stable protocols; an interface that it lacks is declared here by what goes over the wire:
its name, its version, and its requests and events in opcode order. A message reads::

    [since N] [destructor] name(argument, argument, ...)

and an argument is ``int``, ``uint``, ``fixed``, ``string``, ``array``, ``fd``, ``object:<interface>`` or
``new:<interface>``, with ``?`` at its end where it may be null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pywayland.protocol_core.argument import Argument
from pywayland.protocol_core.interface import Interface, InterfaceMeta
from pywayland.protocol_core.message import Message
from pywayland.protocol_core.proxy import Proxy
from pywayland.scanner.argument import ArgumentType

_MESSAGE = re.compile(r"(?:since (?P<since>\d+) )?(?P<end>destructor )?(?P<name>[a-z_]+)\((?P<args>[^()]*)\)")
_KINDS = {
    "int": ArgumentType.Int,
    "uint": ArgumentType.Uint,
    "fixed": ArgumentType.Fixed,
    "string": ArgumentType.String,
    "array": ArgumentType.Array,
    "fd": ArgumentType.FileDescriptor,
    "object": ArgumentType.Object,
    "new": ArgumentType.NewId,
}


@dataclass(frozen=True, slots=True)
class Declaration:
    """One interface; the position of a message in its tuple is its opcode."""

    name: str
    version: int
    requests: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Parsed:
    name: str
    since: int | None
    destructor: bool
    arguments: tuple[Argument, ...]


def build(
    declarations: Iterable[Declaration], known: Mapping[str, type[Interface]]
) -> dict[str, type[Interface]]:
    """Make interface classes that may refer to each other and to the ``known`` ones.

    Raises ValueError for a declaration that cannot be read or that names an unknown interface.
    """
    wanted = tuple(declarations)
    made = {each.name: _interface(each) for each in wanted}
    reachable = {**known, **made}
    for each in wanted:
        interface = made[each.name]
        requests = [_parse(text, reachable) for text in each.requests]
        interface.requests = [_message(parsed) for parsed in requests]
        interface.events = [_message(_parse(text, reachable)) for text in each.events]
        interface._gen_c()
        interface.proxy_class = _proxy_class(interface, requests)
    return made


def _interface(declaration: Declaration) -> type[Interface]:
    members = {"name": declaration.name, "version": declaration.version}
    made: Any = InterfaceMeta(declaration.name, (Interface,), members)
    return cast(type[Interface], made)


def _parse(text: str, interfaces: Mapping[str, type[Interface]]) -> _Parsed:
    match = _MESSAGE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a message: {text!r}")
    arguments = [_argument(part.strip(), interfaces) for part in match["args"].split(",") if part.strip()]
    since = int(match["since"]) if match["since"] else None
    return _Parsed(match["name"], since, match["end"] is not None, tuple(arguments))


def _argument(text: str, interfaces: Mapping[str, type[Interface]]) -> Argument:
    kind, _, interface = text.removesuffix("?").partition(":")
    if kind not in _KINDS or (kind == "new") > bool(interface) or (interface and interface not in interfaces):
        raise ValueError(f"not an argument: {text!r}")
    return Argument(_KINDS[kind], text.endswith("?"), interfaces[interface] if interface else None)


def _message(parsed: _Parsed) -> Message:
    def named() -> None: ...

    named.__name__ = parsed.name
    return Message(named, parsed.arguments, parsed.since)


def _proxy_class(interface: type[Interface], requests: list[_Parsed]) -> type[Proxy[Any]]:
    members: dict[str, Any] = {"interface": interface}
    for opcode, parsed in enumerate(requests):
        members[parsed.name] = _request(opcode, parsed)
    return type(f"{interface.name}_proxy", (Proxy,), members)


def _request(opcode: int, parsed: _Parsed) -> Callable[..., Any]:
    created = next((a.interface for a in parsed.arguments if a.argument_type == ArgumentType.NewId), None)

    def send(proxy: Any, *arguments: Any) -> Any:
        if created is not None:
            return proxy._marshal_constructor(opcode, created, *arguments)
        proxy._marshal(opcode, *arguments)
        if parsed.destructor:
            proxy._destroy()
        return None

    send.__name__ = parsed.name
    return send
