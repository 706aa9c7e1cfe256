"""One ENet connection of a control server: whose it is, how its messages are sealed, and what its pads can do.

Needs no socket and no clock. Messages that are not the client's are dropped and counted, and do not end the session:
ENet authenticates nothing, so that who guesses a connection's numbers could end it by rubbish.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from punktfunk.allowance import Allowance
from punktfunk.errors import CryptoError
from punktfunk.gamestream import control
from punktfunk.gamestream.control import HostMessage, Ignored
from punktfunk.gamestream.control_cipher import ControlCipher
from punktfunk.gamestream.input import EnableHaptics, InputDecoder
from punktfunk.host.client_session import ClientSession
from punktfunk.host.gamestream.control_owner import ControlKeys, ControlMessage
from punktfunk.input import (
    Lightbar,
    MotionWanted,
    PadArrival,
    PadCapability,
    PadFeedback,
    PadRemoval,
    PadSensor,
    Rumble,
    TriggerRumble,
)

_MESSAGES_PER_S: Final = 8000
BURST: Final = 4000
"""Messages, and events in them, that one client may send: a mouse at 1 kHz and sensors of four pads at 250 Hz stay far
below."""
_INTERVAL_NS: Final = 1_000_000_000 // _MESSAGES_PER_S
_SENSOR_BITS: Final = {
    PadSensor.ACCELEROMETER: PadCapability.ACCELEROMETER,
    PadSensor.GYROSCOPE: PadCapability.GYROSCOPE,
}


class ControlConnection:
    """A connection whose data named a session; the session's once a message of it could be opened."""

    def __init__(self, keys: ControlKeys, now_ns: int) -> None:
        self.session: ClientSession = keys.session
        self.since_ns = now_ns
        self.heard_ns = now_ns
        """When a message last could be opened."""
        self.proven = False
        """Whether one could: its peer has the key, and not only the number of the session."""
        self.ending: str | None = None
        """Why the host ends it."""
        self._cipher = ControlCipher(keys.rikey, "host", v2=keys.v2)
        self._input = InputDecoder()
        self._allowance = Allowance(BURST, _INTERVAL_NS, now_ns)
        self._haptics = False
        self._pads: dict[int, PadCapability] = {}
        self._motors: dict[tuple[type, int], Rumble | TriggerRumble] = {}

    def opened(self, wrapped: bytes, now_ns: int) -> bytes | None:
        """Return what is inside of a message; ``None`` for one that is not the client's, or one too many: counted."""
        if not self._allowance.try_take(now_ns):
            self._drop("rate")
            return None
        try:
            inner = self._cipher.open(wrapped)
        except CryptoError:
            self._drop("unopened")
            return None
        self.heard_ns, self.proven = now_ns, True
        return inner

    def read(self, inner: bytes) -> Iterator[ControlMessage | EnableHaptics]:
        """Read a message; what concerns this connection alone is kept here."""
        message = control.decode_from_client(inner)
        if isinstance(message, control.Input):
            events = self._input.decode(message.payload)
            if isinstance(events, Ignored):
                self._drop(events.reason)
                return
            for _ in events[1:]:
                # A text is as many events as it has characters, and each costs the desktop as much as a message.
                self._allowance.take(self.heard_ns)
            for event in events:
                self._note(event)
                yield event
        elif isinstance(message, Ignored):
            self._drop(message.reason)
        elif not isinstance(message, control.Ping):
            yield message

    def sealed(self, message: HostMessage) -> bytes | None:
        """Return a message for the wire; ``None`` where there is none for it, or client or pad do not take it now."""
        if not isinstance(message, control.Termination | control.HdrMode) and not self._takes(message):
            return None
        inner = control.encode_from_host(message)
        return None if inner is None else self._cipher.seal(inner)

    def motors(self) -> list[Rumble | TriggerRumble]:
        """Return what the motors are to do now, for a client that takes rumble only since now."""
        wanted, self._motors = list(self._motors.values()), {}
        return wanted

    def _note(self, event: ControlMessage | EnableHaptics) -> None:
        if isinstance(event, EnableHaptics):
            self._haptics = True
        elif isinstance(event, PadArrival):
            self._pads[event.pad] = event.capabilities
        elif isinstance(event, PadRemoval):
            self._pads.pop(event.pad, None)
            for kind in (Rumble, TriggerRumble):
                self._motors.pop((kind, event.pad), None)

    def _takes(self, message: PadFeedback) -> bool:
        if not self._able(message):
            return False
        if not isinstance(message, Rumble | TriggerRumble):
            return True
        key = (type(message), message.pad)
        changed = self._motors.get(key) != message
        self._motors[key] = message
        # A client keeps the last state, and reliable messages are not lost: to repeat them says nothing.
        return changed and self._haptics

    def _able(self, message: PadFeedback) -> bool:
        """Whether the pad has it; of pads that never arrived nothing is known, and rumble is all they may have."""
        capabilities = self._pads.get(message.pad) or PadCapability.RUMBLE
        match message:
            case Rumble():
                return PadCapability.RUMBLE in capabilities
            case TriggerRumble():
                return PadCapability.TRIGGER_RUMBLE in capabilities
            case Lightbar():
                return PadCapability.LIGHT in capabilities
            case MotionWanted():
                return _SENSOR_BITS[message.sensor] in capabilities
            case _:
                return True

    def _drop(self, reason: str) -> None:
        self.session.dropped_datagrams[f"dropped_{reason}"] += 1
