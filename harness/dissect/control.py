"""The control stream of GameStream in words: ENet's commands, and with the session's key the messages in them.

Messages are opened by the product's own cipher (gamestream section 10.3), in either form, for the end that hears them.
"""

from __future__ import annotations

from typing import Final

from harness.dissect import gamestream
from harness.dissect.datagrams import Datagram
from harness.dissect.keys import Keys
from harness.dissect.layers import described, layer_of
from punktfunk.errors import CryptoError
from punktfunk.gamestream.control_cipher import ControlCipher
from punktfunk.gamestream.rtsp_cipher import End

MAX_CONVERSATIONS: Final = 256
_MAX_COMMANDS: Final = 6
"""Of a datagram, those that are shown."""
_WRAPPED: Final = b"\x01\0"
_WRAPPER_BYTES: Final = 24
_ATTEMPTS: Final = 16
"""Messages of a direction on which all keys are tried."""
_FEC_STATUS: Final = 0x5502
_FEC_STATUS_BYTES: Final = 21


class ControlReader:
    """Reads the control datagrams of a capture in their order."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._ciphers: dict[tuple[object, object], ControlCipher | int] = {}
        """Of each direction its cipher, or how often one was looked for."""

    def read(self, datagram: Datagram) -> str:
        """Return in a line what is in a datagram. Nothing that is in one raises."""
        commands = gamestream.enet_commands(datagram.payload) or []
        return ", ".join(self._command(command, data, datagram) for command, data in commands[:_MAX_COMMANDS])

    def _command(self, command: gamestream.EnetCommand, data: bytes, datagram: Datagram) -> str:
        name = str(command.sprintf("%kind%"))
        if len(data) < _WRAPPER_BYTES or data[:2] != _WRAPPED:
            return f"{name} {len(data)} bytes" if data else name
        inner = self._opened(data, datagram)
        if inner is None:
            return f"{name} {described(layer_of(gamestream.ControlWrapper, data))}"
        message = layer_of(gamestream.Control, inner)
        body = inner[4:]
        if message is not None and message.type == _FEC_STATUS and len(body) == _FEC_STATUS_BYTES:
            return f"{name} {described(layer_of(gamestream.FecStatus, body))}"
        return f"{name} {message.sprintf('%type%')}" if message is not None else f"{name} message"

    def _opened(self, message: bytes, datagram: Datagram) -> bytes | None:
        direction = (datagram.source, datagram.destination)
        known = self._ciphers.get(direction, 0)
        if isinstance(known, ControlCipher):
            try:
                return known.open(message)
            except CryptoError:
                return None
        if known >= _ATTEMPTS or (direction not in self._ciphers and len(self._ciphers) >= MAX_CONVERSATIONS):
            return None
        self._ciphers[direction] = known + 1
        ends: tuple[End, ...] = ("host", "client")
        for key in self._keys.streams:
            # The cipher of one end opens what the other says.
            for cipher in (ControlCipher(key.key, end, v2=v2) for end in ends for v2 in (True, False)):
                try:
                    inner = cipher.open(message)
                except CryptoError:
                    continue
                self._ciphers[direction] = cipher
                return inner
        return None
