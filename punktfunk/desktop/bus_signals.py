"""Who listens to which signals of a bus, and telling them: one after the other, in a thread, of the right sender alone.

Not here: the connection that signals come by (``session_bus``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from punktfunk import log

if TYPE_CHECKING:
    from dbus_fast import Message

DAEMON: Final = "org.freedesktop.DBus"
DAEMON_PATH: Final = "/org/freedesktop/DBus"
_OWNER_CHANGED: Final = "NameOwnerChanged"
_PENDING_LIMIT: Final = 1024
"""Signals that wait for their turn; more are left out, for a flood of them has no meaning here."""

OnSignal = Callable[[tuple[Any, ...]], None]
"""Takes the arguments of a signal, variants unwrapped. Called in a thread of the connection, in the signals' order."""
OnOwner = Callable[[str], None]
"""Takes the unique name of who has a name from now on; "" once nobody has. Called as :data:`OnSignal` is."""


@dataclass(eq=False, slots=True)
class Subscription:
    """What somebody listens to."""

    path: str | None
    interface: str
    member: str
    sender: str | None
    """A unique or a well-known name; None takes it from anybody."""
    callback: OnSignal
    arg0: str | None = None
    at_the_end: tuple[Any, ...] | None = None
    """What is reported when the connection ends, if anything."""
    live: bool = True

    @classmethod
    def of_owner(cls, name: str, callback: OnOwner, *, at_the_end: bool) -> Subscription:
        """Return one to changes of who has a name; with the connection's end, nobody has."""
        return cls(
            DAEMON_PATH,
            DAEMON,
            _OWNER_CHANGED,
            DAEMON,
            lambda body: callback(str(body[2])),
            arg0=name,
            at_the_end=(name, "", "") if at_the_end else None,
        )

    @property
    def rule(self) -> str:
        """The match rule by which the bus sends it here."""
        parts = {"type": "signal", "interface": self.interface, "member": self.member}
        optional = {"path": self.path, "sender": self.sender, "arg0": self.arg0}
        parts.update({key: value for key, value in optional.items() if value is not None})
        return ",".join(f"{key}='{value}'" for key, value in parts.items())


class Signals:
    """The subscriptions of one connection, safe for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []
        self._owners: dict[str, str | None] = {}
        """Unique names of the senders that are listened to; None until the bus has said."""
        self._pending = 0
        self._closed = False
        self._teller = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bus-signals")
        self._log = log.get("desktop.bus")

    def __len__(self) -> int:
        return len(self._subscriptions)

    def add(self, subscription: Subscription) -> None:
        """Have it told of signals from now on."""
        with self._lock:
            self._subscriptions.append(subscription)

    def drop(self, subscription: Subscription) -> bool:
        """Have it told of nothing any more; return whether it was told until now."""
        with self._lock:
            was_live, subscription.live = subscription.live, False
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
            return was_live

    def expect(self, name: str) -> bool:
        """Take changes of who has a sender's name from now on; return whether that is new."""
        with self._lock:
            if name in self._owners:
                return False
            self._owners[name] = None
            return True

    def learn(self, name: str, owner: str) -> None:
        """Take what the bus has answered, unless it has changed meanwhile: a change is newer."""
        with self._lock:
            if self._owners[name] is None:
                self._owners[name] = owner

    def take(self, message: Message) -> None:
        """Have a signal told to whom it concerns."""
        from dbus_fast.unpack import unpack_variants

        with self._lock:
            if message.sender == DAEMON and message.member == _OWNER_CHANGED and len(message.body) == 3:
                name, _, owner = message.body
                if name in self._owners:
                    self._owners[name] = owner
            concerned = [each for each in self._subscriptions if self._concerns(each, message)]
        if concerned:
            body = tuple(unpack_variants(list(message.body)))
            for each in concerned:
                self._tell(each, body)

    def end(self) -> None:
        """Let those know who want to that the connection has ended."""
        with self._lock:
            told = [(each, each.at_the_end) for each in self._subscriptions]
        for each, body in told:
            if body is not None:
                self._tell(each, body)

    def close(self) -> None:
        """Have nobody told of anything any more."""
        with self._lock:
            self._closed = True
            for each in self._subscriptions:
                each.live = False
            self._subscriptions.clear()
        self._teller.shutdown(wait=False, cancel_futures=True)

    def _concerns(self, subscription: Subscription, message: Message) -> bool:
        sender = subscription.sender
        return (
            message.interface == subscription.interface
            and message.member == subscription.member
            and subscription.path in {None, message.path}
            and (sender is None or message.sender in {sender, self._owners.get(sender)})
            and (subscription.arg0 is None or (message.body or [None])[0] == subscription.arg0)
        )

    def _tell(self, subscription: Subscription, body: tuple[Any, ...]) -> None:
        def tell() -> None:
            with self._lock:
                self._pending -= 1
            if subscription.live:
                subscription.callback(body)

        with self._lock:
            if self._closed:
                return
            full = self._pending >= _PENDING_LIMIT
            if not full:
                self._pending += 1
                done = self._teller.submit(tell)
        if full:
            self._log.warning("signal left out", interface=subscription.interface, member=subscription.member)
        else:
            done.add_done_callback(_raise_defect)


def _raise_defect(done: Future[None]) -> None:
    """Raise what nobody foresaw, so that ``concurrent.futures`` logs it: nobody asks for the result."""
    if not done.cancelled():
        done.result()
