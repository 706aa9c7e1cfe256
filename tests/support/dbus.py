"""A session bus of a test's own, and programs on it: one answers, signals, errs, hands over descriptors and hangs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Self

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

NAME = "org.example.Peer"
PATH = "/org/example/Peer"

_CONFIGURATION = """\
<busconfig><type>session</type><listen>unix:path={socket}</listen>
<policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy>
</busconfig>
"""
"""Without folders of services: nothing is started by the bus."""


@contextlib.contextmanager
def session_bus(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a bus; yield its address and its process."""
    configuration = folder / "bus.conf"
    configuration.write_text(_CONFIGURATION.format(socket=folder / "bus"))
    order = ["dbus-daemon", f"--config-file={configuration}", "--nofork", "--print-address=1"]
    with subprocess.Popen(order, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as daemon:
        assert daemon.stdout is not None
        try:
            yield daemon.stdout.readline().decode().strip(), daemon
        finally:
            daemon.kill()


class BusProgram:
    """A program on a bus that owns ``names``, in a thread of its own, until ``close``; answers by :meth:`_answer`."""

    _bus: MessageBus

    def __init__(self, address: str, *names: str) -> None:
        self._address, self._names = address, names
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._do(self._connect())

    def close(self) -> None:
        """Leave the bus. Closing twice is harmless."""
        if self._loop.is_closed():
            return
        self._do(self._leave())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, message: Message) -> Message | bool:
        """Return the answer to a call, True where it comes later, False for none."""
        raise NotImplementedError

    def _do(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _signal(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str,
        body: list[Any],
        *,
        to: str | None = None,
    ) -> None:
        """Emit a signal, to one alone if ``to`` is given."""
        message = Message(
            message_type=MessageType.SIGNAL,
            destination=to,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body,
        )

        async def send() -> None:
            await self._bus.send(message)

        if threading.current_thread() is self._thread:
            self._bus.send(message)
        else:
            self._do(send())

    async def _connect(self) -> None:
        self._bus = MessageBus(bus_address=self._address, negotiate_unix_fd=True)
        await self._bus.connect()
        self._bus.add_message_handler(self._answer)
        for name in self._names:
            await self._bus.request_name(name)

    async def _leave(self) -> None:
        self._bus.disconnect()
        with contextlib.suppress(Exception):
            await self._bus.wait_for_disconnect()


class BusPeer(BusProgram):
    """A program that owns :data:`NAME`, unless it is given others.

    It answers ``Echo`` with what it was told, ``Fail`` with an error, ``Give`` with a pipe's reading end,
    ``FailAndGive`` with both; ``Hang`` it answers once ``GiveLate`` comes, with a descriptor then.
    """

    def __init__(self, address: str, *names: str) -> None:
        self._late: Message | None = None
        super().__init__(address, *(names or (NAME,)))

    def signal(
        self,
        member: str,
        signature: str = "",
        *body: object,
        to: str | None = None,
        path: str = PATH,
        interface: str = NAME,
    ) -> None:
        """Emit a signal, to one alone if ``to`` is given."""
        self._signal(path, interface, member, signature, list(body), to=to)

    def _answer(self, message: Message) -> Message | bool:
        if message.message_type is MessageType.METHOD_CALL and message.member == "Get":
            return Message.new_method_return(message)  # of a property: no value, which cannot be
        if message.message_type is not MessageType.METHOD_CALL or message.interface != NAME:
            return False
        answer: Message | bool = True
        match message.member:
            case "Echo":
                answer = Message.new_method_return(message, message.signature, message.body)
            case "Wrapped":
                value = {"size": Variant("(ii)", (1280, 720)), "deep": Variant("av", [Variant("s", "x")])}
                answer = Message.new_method_return(message, "a{sv}", [value])
            case "Fail":
                answer = Message.new_error(message, "org.example.Error.No", "it \x1b[31mdoes not")
            case "Give":
                answer = self._with_descriptor(message)
            case "FailAndGive":
                answer = self._with_descriptor(message, "org.example.Error.No")
            case "Hang":
                self._late = message
            case "GiveLate":
                assert self._late is not None
                self._bus.send(self._with_descriptor(self._late))
                answer = Message.new_method_return(message)
        return answer

    def _with_descriptor(self, message: Message, error_name: str | None = None) -> Message:
        reading, writing = os.pipe()
        os.write(writing, b"given")
        os.close(writing)
        self._loop.call_later(1, os.close, reading)  # once it is sent, which is at once
        answer = Message.new_method_return(message, "h", [0], [reading])
        if error_name is not None:
            answer.message_type, answer.error_name = MessageType.ERROR, error_name
        return answer
