"""Pair two described programs by a PIN, as a person at both of them would.

punktfunk/1: the host shows the PIN and the client is given it. gamestream: the client is given a PIN to show, and it is
entered at the host until the host takes it.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from harness.network.foreign import ForeignProcess
from harness.network.pace import PATIENCE
from harness.peers.command import CommandPeer, draw_pin
from harness.scenario.foreign import Pairing
from harness.scenario.protocols import GAMESTREAM
from punktfunk.errors import CapabilityError, CheckFailedError

_RETRY_S = 0.3
_STRANGER_S = 4.0 * PATIENCE
"""How long a client that is not paired is watched: a stream would have come by then."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one try at pairing."""

    paired: bool
    words: str
    """What the client said last."""


def able(protocol: str, host: CommandPeer, client: CommandPeer) -> None:
    """Raise CapabilityError where the descriptions do not say how the two pair."""
    wanted = "enter" if protocol == GAMESTREAM else "shows"
    for peer, key in ((host, wanted), (client, "pair")):
        if peer.description.pairing is None or not getattr(peer.description.pairing, key):
            raise CapabilityError(
                f"nothing is known of how {peer.program} pairs", f"pairing: {key}: in its description"
            )


def pair(protocol: str, host: CommandPeer, client: CommandPeer, *, wrong: bool = False) -> Attempt:
    """Try to pair a running host with a client that has not been started; ``wrong``: by a PIN that differs.

    Raises CheckFailedError where the host shows no PIN, or a command does not end.
    """
    limit_s = _pairing(client).within.seconds * PATIENCE
    if protocol == GAMESTREAM:
        return _entered_at_host(host, client, limit_s, wrong=wrong)
    shown = host.pin(limit_s)
    return _ended(_client(client, _other(shown) if wrong else shown), limit_s, _pairing(client).paired)


def stranger_gets_in(client: CommandPeer) -> bool:
    """Start a client that is not paired, and return whether it came to be ready; it is ended in any case."""
    client.start()
    try:
        return client.becomes_ready(min(_STRANGER_S, client.description.ready.within.seconds * PATIENCE))
    finally:
        client.stop()


def _entered_at_host(host: CommandPeer, client: CommandPeer, limit_s: float, *, wrong: bool) -> Attempt:
    pin = draw_pin()
    enter = _pairing(host).enter
    assert enter is not None
    asking = _client(client, pin)
    deadline = time.monotonic() + limit_s
    with asking:
        # The host takes a PIN only once the client's request has come.
        while asking.returncode is None and time.monotonic() < deadline:
            command = host.run_command("pin", enter, _other(pin) if wrong else pin)
            if _ended(command, max(1.0, deadline - time.monotonic())).paired:
                break
            asking.wait(_RETRY_S)
        return _ended(asking, max(1.0, deadline - time.monotonic()), _pairing(client).paired)


def _client(client: CommandPeer, pin: str) -> ForeignProcess:
    words = _pairing(client).pair
    assert words is not None
    return client.run_command("pair", words, pin)


def _ended(command: ForeignProcess, limit_s: float, line: str | None = None) -> Attempt:
    """Wait for a command's end; it has paired where its status is 0 and ``line``, where there is one, was said."""
    with command:
        status = command.wait(limit_s)
        with contextlib.suppress(TimeoutError):
            command.wait_line(r"(?!)", 0.5)  # to the end of its output
        words = command.last_words()
    if status is None:
        raise CheckFailedError(
            f"{command.role} did not end within {limit_s:g} s: {words}", f"see {command.log.name}"
        )
    return Attempt(status == 0 and (line is None or command.last_match(line) is not None), words)


def _pairing(peer: CommandPeer) -> Pairing:
    assert peer.description.pairing is not None
    return peer.description.pairing


def _other(pin: str) -> str:
    """Return a PIN that differs in its first digit."""
    return f"{(int(pin[:1] or '0') + 1) % 10}{pin[1:]}"
