"""The messages between a program and the session supervisor that it started.

Requests carry a number that their answer repeats. An input event travels as it is and is not answered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from punktfunk.input import InputEvent
from punktfunk.units import Mode


@dataclass(frozen=True, slots=True)
class OpenSession:
    """First message: bring up a compositor, input devices and, where asked for, sound."""

    number: int
    runtime: str
    """A private folder that exists and goes away with the session."""
    xwayland: bool
    audio: bool
    keyboard_layout: str
    keyboard_variant: str


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The session answers on these sockets."""

    number: int
    socket: str
    ipc_path: str
    x_display: str
    containment: str
    pulse_server: str
    """Address of the sound server; empty without sound."""
    tells_cursor: bool
    """Whether the compositor tells its pointer beside copies of its outputs."""


@dataclass(frozen=True, slots=True)
class OpenGamescope:
    """First message, of another session: bring up a gamescope of that mode, which it keeps, with PipeWire."""

    number: int
    runtime: str
    mode: Mode
    audio: bool
    """With a sound server for programs as well."""
    steam: bool
    """Have Steam, which is to run in it, say which window is shown."""
    keyboard_layout: str
    keyboard_variant: str


@dataclass(frozen=True, slots=True)
class GamescopeOpened:
    """The session answers on these sockets."""

    number: int
    socket: str
    x_display: str
    ei_path: str
    """Where input is taken."""
    pipewire: str
    """Where its pictures are taken from, and the node there."""
    node: int
    containment: str
    pulse_server: str


@dataclass(frozen=True, slots=True)
class MakeOutput:
    """Add an output."""

    number: int
    mode: Mode
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class ChangeOutput:
    """Give an output another mode, and another scale if one is given."""

    number: int
    name: str
    mode: Mode
    scale: float | None = None


@dataclass(frozen=True, slots=True)
class OutputMade:
    """Answer to both."""

    number: int
    name: str
    mode: Mode


@dataclass(frozen=True, slots=True)
class Launch:
    """Start a program in the session from its argument list."""

    number: int
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    """Added to the session's environment."""
    cwd: str | None = None


@dataclass(frozen=True, slots=True)
class Launched:
    """It runs."""

    number: int
    app: int
    """Names it from now on; no process id, for those differ inside the session."""


@dataclass(frozen=True, slots=True)
class EndApp:
    """End a program."""

    number: int
    app: int


@dataclass(frozen=True, slots=True)
class AppEnded:
    """A program has ended; also the answer to :class:`EndApp`, whose number it then carries (else 0)."""

    number: int
    app: int
    status: int
    """Exit status, negative for a signal."""
    words: str
    """The last lines that it printed."""


@dataclass(frozen=True, slots=True)
class ReleaseAll:
    """Let go of every key and button; answered by :class:`Released`."""

    number: int


@dataclass(frozen=True, slots=True)
class Released:
    """All keys and buttons are up, and the compositor knows. Counters of the injector so far."""

    number: int
    counters: dict[str, int]


@dataclass(frozen=True, slots=True)
class Failed:
    """A request came to nothing (``number``), or the session itself has ended (0)."""

    number: int
    code: str
    cause: str
    hint: str


Request = OpenSession | OpenGamescope | MakeOutput | ChangeOutput | Launch | EndApp | ReleaseAll
"""What a program asks, besides putting input in."""

Answer = SessionOpened | GamescopeOpened | OutputMade | Launched | AppEnded | Released | Failed
"""What the supervisor says, with the number of the request, or with 0 unasked."""

VOCABULARY: tuple[type[Request | Answer | InputEvent], ...] = (
    *get_args(Request),
    *get_args(Answer),
    InputEvent,
)
