"""The user's D-Bus session bus, asked from any thread: by it compositors, portals and lock screens are spoken to.

dbus-fast does the protocol in an event loop and a thread of this connection's own. What is called blocks with a
deadline; what is signalled comes one after the other in a second thread, which may call in turn.

Not here: what the names on the bus mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from punktfunk.desktop.bus_reply import BusError, Reply, reply_of
from punktfunk.desktop.bus_signals import DAEMON, DAEMON_PATH, OnOwner, OnSignal, Signals, Subscription
from punktfunk.errors import CapabilityError, DesktopError
from punktfunk.printable import MAX_PEER_CHARACTERS, printable

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

R = TypeVar("R")

CALL_LIMIT_S: Final = 10.0
"""For an answer; a compositor's takes milliseconds, and a second or two while it starts."""
_CONNECT_LIMIT_S: Final = 5.0
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"

Cancel = Callable[[], None]
"""Ends what was subscribed to; one call that has begun may still be under way. Calling it twice is harmless."""


def session_address() -> str:
    """Return the address of the user's session bus; raise CapabilityError where the environment tells of none."""
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    if address:
        return address
    folder = os.environ.get("XDG_RUNTIME_DIR")
    if folder and (Path(folder) / "bus").exists():
        return f"unix:path={folder}/bus"
    raise CapabilityError(
        "no D-Bus session bus is here (DBUS_SESSION_BUS_ADDRESS is not set)",
        "start punktfunk from within the desktop session, as its user and not by sudo",
    )


def require_bus() -> None:
    """Raise CapabilityError unless dbus-fast can be imported and the environment tells of a session bus."""
    try:
        import dbus_fast.aio  # noqa: F401 - is it installed?
    except ImportError as error:
        raise CapabilityError(
            f"D-Bus needs dbus-fast, which cannot be imported: {error}", "pip install 'punktfunk[desktop]'"
        ) from error
    session_address()


def variant(signature: str, value: object) -> Any:
    """Return a value with its type, as ``v`` in the signature of a call wants it."""
    from dbus_fast import Variant

    return Variant(signature, value)


class SessionBus:
    """A connection to the session bus, safe for any thread.

    Raises CapabilityError without dbus-fast or where there is no bus. What a service created for this connection, such
    as a session of Mutter, goes when it is closed, and when this process dies.
    """

    def __init__(self, address: str | None = None) -> None:
        """Connect to the bus at ``address``, or to the one that the environment tells of."""
        if address is None:
            require_bus()
            address = session_address()
        self._lock = threading.Lock()
        self._signals = Signals()
        self._serials: set[int] = set()
        """Of calls that are waited for."""
        self._closed = self._lost = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bus", daemon=True)
        self._thread.start()
        self._watch: Future[None] | None = None
        try:
            self._bus: MessageBus = self._await(self._connect(address), _CONNECT_LIMIT_S)
        except BaseException as error:
            self._closed = True
            self._stop()
            if isinstance(error, CapabilityError | DesktopError):
                raise
            if not isinstance(error, Exception):
                raise
            words = printable(str(error) or type(error).__name__, MAX_PEER_CHARACTERS)
            raise CapabilityError(
                f"no D-Bus session bus answers at {printable(address, MAX_PEER_CHARACTERS)}: {words}",
                "start punktfunk from within the desktop session, as its user and not by sudo",
            ) from error
        self._watch = asyncio.run_coroutine_threadsafe(self._wait_for_end(), self._loop)

    @property
    def unique_name(self) -> str:
        """What the bus calls this connection."""
        return str(self._bus.unique_name)

    @property
    def lost(self) -> bool:
        """Whether the connection has ended; it does not come back."""
        return self._lost or self._closed

    def call(  # noqa: PLR0917 - in the order that D-Bus tools have them
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[object] = (),
        *,
        timeout_s: float = CALL_LIMIT_S,
        takes_descriptors: bool = False,
    ) -> Reply:
        """Call a method and return its answer, variants unwrapped.

        Descriptors that come with it are closed unless the caller takes them. Raises BusError
        for an answer that is an error, and DesktopError where none comes.
        """
        from dbus_fast import Message
        from dbus_fast.errors import DBusFastError

        def build(serial: int) -> Message:
            return Message(
                destination=destination,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(body),
                serial=serial,
            )

        what = f"{interface}.{member}"
        if threading.current_thread() is self._thread:
            raise RuntimeError("a call from the loop's own thread would wait for itself")
        try:
            answer = self._await(self._ask(build, timeout_s), timeout_s + 1)
        except TimeoutError as error:
            raise DesktopError(f"{destination} does not answer {what} within {timeout_s:g} s") from error
        except (DBusFastError, OSError, EOFError) as error:
            if self.lost:
                raise self._gone() from error
            words = printable(str(error) or type(error).__name__, MAX_PEER_CHARACTERS)
            raise DesktopError(f"{what} cannot be called: {words}") from error
        return reply_of(answer, what, takes_descriptors=takes_descriptors)

    def get_property(
        self, destination: str, path: str, interface: str, name: str, *, timeout_s: float = CALL_LIMIT_S
    ) -> Any:
        """Return the value of a property; raise what :meth:`call` raises."""
        got = self.call(destination, path, _PROPERTIES, "Get", "ss", (interface, name), timeout_s=timeout_s)
        return got.value

    def subscribe(
        self, path: str | None, interface: str, member: str, callback: OnSignal, *, sender: str | None = None
    ) -> Cancel:
        """Have a signal of that object, or of any where ``path`` is None, reported from now on.

        ``sender`` is the only one that it is taken from: without, any program on the bus may pretend to be it.
        """
        if sender is not None and not sender.startswith(":") and sender != DAEMON:
            self._follow(sender)
        return self._add(Subscription(path, interface, member, sender, callback))

    def owner_of(self, name: str) -> str:
        """Return the unique name of who has ``name``; "" for nobody."""
        try:
            return str(self.call(DAEMON, DAEMON_PATH, DAEMON, "GetNameOwner", "s", (name,)).value)
        except BusError as error:
            if error.name == "org.freedesktop.DBus.Error.NameHasNoOwner":
                return ""
            raise

    def name_has_owner(self, name: str) -> bool:
        """Return whether somebody has that name on the bus; nothing is started for it."""
        return bool(self.owner_of(name))

    def watch_owner(self, name: str, callback: OnOwner) -> Cancel:
        """Have changes of who has ``name`` reported from now on; the end of the bus is one, for then nobody has."""
        return self._add(Subscription.of_owner(name, callback, at_the_end=True))

    def close(self) -> None:
        """Disconnect. Nothing is reported afterwards; calls under way raise DesktopError. Closing twice is harmless."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._signals.close()
        self._loop.call_soon_threadsafe(self._bus.disconnect)
        if self._watch is not None and threading.current_thread() is not self._thread:
            with contextlib.suppress(Exception):
                self._watch.result(_CONNECT_LIMIT_S)
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add(self, subscription: Subscription) -> Cancel:
        self._signals.add(subscription)
        try:
            self.call(DAEMON, DAEMON_PATH, DAEMON, "AddMatch", "s", (subscription.rule,))
        except BaseException:
            self._signals.drop(subscription)
            raise

        def cancel() -> None:
            if self._signals.drop(subscription) and not self.lost:
                # The bus may go meanwhile, and the rule with it.
                with contextlib.suppress(DesktopError):
                    self.call(DAEMON, DAEMON_PATH, DAEMON, "RemoveMatch", "s", (subscription.rule,))

        return cancel

    def _follow(self, name: str) -> None:
        """Know from now on who has a name. It is so for as long as the connection lasts: there are few of them."""
        if self._signals.expect(name):
            self._add(Subscription.of_owner(name, lambda _owner: None, at_the_end=False))
            self._signals.learn(name, self.owner_of(name))

    async def _connect(self, address: str) -> MessageBus:
        from dbus_fast.aio import MessageBus

        bus = MessageBus(bus_address=address, negotiate_unix_fd=True, auth_timeout=_CONNECT_LIMIT_S)
        bus.add_message_handler(self._take)
        await bus.connect()
        return bus

    async def _ask(self, build: Callable[[int], Message], timeout_s: float) -> Message | None:
        if self.lost:
            raise self._gone()
        serial = self._bus.next_serial()
        self._serials.add(serial)
        try:
            return await asyncio.wait_for(self._bus.call(build(serial)), timeout_s)
        finally:
            self._serials.discard(serial)

    async def _wait_for_end(self) -> None:
        with contextlib.suppress(Exception):  # how it ended makes no difference
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # dbus-fast annotates all but this
        self._lost = True
        self._signals.end()

    def _take(self, message: Message) -> bool:
        """Look at each message that comes; return whether nobody else is to. Runs in the loop's thread."""
        from dbus_fast import MessageType

        if message.message_type is MessageType.SIGNAL:
            self._signals.take(message)
        elif message.message_type is not MessageType.METHOD_CALL and message.reply_serial in self._serials:
            for descriptor in message.unix_fds:
                os.set_inheritable(descriptor, False)
            return False
        # Nobody waits for what these carry: an answer that came too late, or what another program pressed on us.
        for descriptor in message.unix_fds:
            os.close(descriptor)
        return False

    def _gone(self) -> DesktopError:
        if self._closed:
            return DesktopError("the connection to the session bus is closed")
        return DesktopError("the session bus has gone", "is the desktop session still there?")

    def _await(self, work: Coroutine[Any, Any, R], timeout_s: float) -> R:
        try:
            begun = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise self._gone() from None  # its loop is closed
        try:
            return begun.result(timeout_s)
        except TimeoutError:
            begun.cancel()
            raise
        except CancelledError:
            raise self._gone() from None

    async def _end_loop(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._loop.stop()

    def _stop(self) -> None:
        self._signals.close()
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._end_loop()))
        if threading.current_thread() is not self._thread:
            self._thread.join(_CONNECT_LIMIT_S)
            if not self._thread.is_alive():
                self._loop.close()
