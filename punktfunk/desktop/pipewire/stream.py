"""A consumer of one node's video: negotiates, keeps the newest picture, gives buffers back at once.

PipeWire's data thread runs :meth:`PipeWireStream._on_process`, for a tenth of a millisecond a picture: the newest one
is kept, and what it replaces goes back to the producer in the same cycle. (In the thread of PipeWire's loop, as without
RT_PROCESS, it may be done so late that all buffers are on this side. As one goes back in each cycle, and a producer
without a buffer begins none, they would stay here for ever.) Who wants a picture takes it by
:meth:`PipeWireStream.take`, reads it where it lies, and gives it back.

``_changed`` is over all that several threads see, the queue of the buffers that go back included: PipeWire's own is for
one writer. The loop's lock, under which PipeWire has its other functions called, is never asked for with it held.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.pipewire import library, pods
from punktfunk.desktop.pipewire.buffers import Companions, Cursor, companions, copied_chunks
from punktfunk.desktop.pipewire.formats import (
    PARAM_FORMAT,
    VideoFormat,
    Wish,
    buffer_wishes,
    format_offers,
    read_format,
)
from punktfunk.desktop.pipewire.pictures import Picture, PictureBuffer, Update, united
from punktfunk.errors import DesktopError, MediaError, PunktfunkError
from punktfunk.printable import printable

_PROPERTIES: Final = (
    b"{ media.type = Video media.category = Capture media.role = Screen"
    b" node.name = punktfunk node.dont-reconnect = true node.dont-fallback = true }"
)
"""The last two are for the session manager: the screen that was asked for or none, and never the user's camera."""
_CONTEXT: Final = b"{ module.rt = false }"
"""The thread that calls us would be made real-time, and a limit set by which the kernel may kill the whole process when
any of its real-time threads, such as the one that sends, works for long."""
_FLAGS: Final = (
    library.FLAG_AUTOCONNECT | library.FLAG_RT_PROCESS | library.FLAG_NO_CONVERT | library.FLAG_DONT_RECONNECT
)
_RENEGOTIATES_SINCE: Final = (1, 0)
OLDEST_STAMP_NS: Final = 10_000_000_000
"""A stamp further back is of another clock."""


@dataclass(slots=True)
class StreamCounters:
    """What became of the buffers of a stream."""

    received: int = 0
    replaced: int = 0
    """A newer one came before they were taken."""
    empty: int = 0
    """Without a picture, such as those that only move the pointer."""
    corrupted: int = 0
    """Marked so by their producer, or not all there."""
    formats: int = 0
    """Formats that were agreed on."""


class PipeWireStream:
    """The pictures of one node, over a connection of its own, or one that somebody else has opened.

    ``descriptor`` is such a connection, and is taken: it is closed with the stream, or when that does not open.
    """

    def __init__(
        self,
        node: int,
        wish: Wish,
        *,
        remote: str | None = None,
        descriptor: int | None = None,
        cursor: bool = False,
        oldest_stamp_ns: int = OLDEST_STAMP_NS,
    ) -> None:
        """Connect and begin to negotiate. A picture whose stamp is older than ``oldest_stamp_ns`` is stamped anew.

        Raises CapabilityError where PipeWire's library cannot be used here, and DesktopError where PipeWire does not
        answer.
        """
        self.counters = StreamCounters()
        self._node = node
        self._wish = wish
        self._cursor_wanted = cursor
        self._oldest_stamp_ns = oldest_stamp_ns
        self._newest_stamp_ns = 0
        self._changed = threading.Condition()
        self._waiting: Picture | None = None
        self._cursor: Cursor | None = None
        self._last_cursor: Cursor | None = None
        self._all_changed = True
        """Whether the next picture may differ anywhere from the one before."""
        self._sequence = 0
        self._news = 0
        self._failure: PunktfunkError | None = None
        self._defect: Exception | None = None
        self._closed = False
        self._video: VideoFormat | None = None
        self._buffers: dict[int, PictureBuffer] = {}
        self._loop: int | None = None
        self._context: int | None = None
        self._core: int | None = None
        self._stream: int | None = None
        self._hook = library.Hook()
        self._events = library.StreamEvents(
            version=2,
            state_changed=library.OnState(self._safely(self._on_state)),
            param_changed=library.OnParam(self._safely(self._on_param)),
            add_buffer=library.OnBuffer(self._safely(self._on_add_buffer)),
            remove_buffer=library.OnBuffer(self._safely(self._on_remove_buffer)),
            process=library.OnProcess(self._safely(self._on_process)),
        )
        self._registry_hook = library.Hook()
        self._registry_events = library.RegistryEvents(
            version=0, global_remove=library.OnGlobalRemove(self._safely(self._on_global_remove))
        )
        try:
            self._pw = library.load()
            self._start()
        except BaseException:
            if descriptor is not None:
                os.close(descriptor)
            self.close()
            raise
        try:
            with self._locked():
                self._connect(remote, descriptor)
                self._begin(wish)
        except BaseException:
            self.close()
            raise

    def wait(self, timeout_s: float, seen: int = 0) -> int | None:
        """Wait until there is something to take, and return its number; None where nothing comes in time.

        What has the number ``seen`` is left aside: only newer things count. Raises MediaError as :meth:`take`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_over() or self._is_news(seen), max(0.0, timeout_s))
            self._check()
            return self._news if self._is_news(seen) else None

    def take(self) -> Update:
        """Return what is new; a picture in it is to be given back.

        Raises MediaError when there will be no more: the node or PipeWire has gone, or both sides agree on nothing.
        """
        with self._changed:
            self._check()
            update = Update(self._waiting, self._cursor)
            if self._waiting is not None:
                self._waiting.buffer.hold()
            self._waiting = None
            self._cursor = None
        return update

    def take_cursor(self) -> tuple[Cursor | None, bool]:
        """Return what is new of the pointer, and whether a picture waits, which stays. Raises as :meth:`take`."""
        with self._changed:
            self._check()
            cursor, self._cursor = self._cursor, None
            return cursor, self._waiting is not None

    def ask(self, wish: Wish) -> None:
        """Ask the producer for something else from now on; what it gives meanwhile is of the former format.

        One that gives what it has is asked for other DMA-BUFs alone.
        """
        if wish.is_asked_after(self._wish):
            self._wish = wish
            self._offer(wish)

    def restart(self) -> None:
        """Have the producer begin anew, if nobody else is its consumer: it then gives a first picture again."""
        with self._locked():
            self._pw.pw_stream_set_active(self._stream, False)
            self._pw.pw_stream_set_active(self._stream, True)

    def renegotiate(self) -> bool:
        """Have the producer begin anew although others are its consumers too; return whether that can be done.

        A node that is captured already gives a later consumer nothing while its screen stands still. PipeWire 0.3 loses
        the earlier ones over this, and a producer of exact pictures would make others.
        """
        if self._wish.exact or library.version() < _RENEGOTIATES_SINCE:
            return False
        # Any other offer does; of a rate that is the producer's to choose, it is read as the preferred one.
        self._wish = replace(self._wish, hz=self._wish.hz + 1)
        self._offer(self._wish)
        return True

    def silence(self) -> MediaError:
        """Return why no picture has come, as far as that is known."""
        if not self.counters.formats:
            return self._disagreement("")
        return MediaError(f"no picture came from node {self._node} of PipeWire", "is the screen still on?")

    @property
    def is_over(self) -> bool:
        """Whether there will be no more pictures."""
        with self._changed:
            return self._is_over()

    def give_back(self, picture: Picture) -> None:
        """Let the producer draw into a picture's buffer again, unless that has gone meanwhile; once for each."""
        with self._changed:
            self._requeue(picture)
        picture.buffer.let_go()

    def close(self) -> None:
        """End the stream and its connection. Closing twice is harmless."""
        if self._closed:
            return
        with self._changed:
            self._closed = True
            for buffer in self._buffers.values():
                buffer.let_go()
            self._buffers.clear()
        if self._loop is None:
            return
        with self._locked():
            if self._stream is not None:
                self._pw.pw_stream_destroy(self._stream)
            if self._core is not None:
                self._pw.pw_core_disconnect(self._core)
        self._pw.pw_thread_loop_stop(self._loop)
        if self._context is not None:
            self._pw.pw_context_destroy(self._context)
        self._pw.pw_thread_loop_destroy(self._loop)
        self._loop = None

    def _start(self) -> None:
        """Start PipeWire's thread; it waits until it is told something."""
        self._loop = _made(self._pw.pw_thread_loop_new(b"pipewire", None), "no loop")
        loop = self._pw.pw_thread_loop_get_loop(self._loop)
        settings = self._pw.pw_properties_new_string(_CONTEXT)
        self._context = _made(self._pw.pw_context_new(loop, settings, 0), "its configuration is missing")
        if self._pw.pw_thread_loop_start(self._loop) < 0:
            raise DesktopError("PipeWire's client cannot be started: no thread")

    def _connect(self, remote: str | None, descriptor: int | None) -> None:
        if descriptor is not None:
            self._core = self._pw.pw_context_connect_fd(self._context, descriptor, None, 0)
        else:
            named = None
            if remote is not None:
                text = f"{{ remote.name = {json.dumps(remote)} }}"
                named = self._pw.pw_properties_new_string(text.encode())
            self._core = self._pw.pw_context_connect(self._context, named, 0)
        if not self._core:
            reason = os.strerror(ctypes.get_errno())
            raise DesktopError(
                f"PipeWire does not answer at {remote or 'its usual place'}: {reason}",
                "start it in this session: systemctl --user start pipewire",
            )

    def _begin(self, wish: Wish) -> None:
        # What a session manager does with a stream whose node has gone differs; the registry just says that it has.
        registry = _made(library.get_registry(_made(self._core, "no connection")), "no registry")
        self._pw.pw_proxy_add_object_listener(
            registry, ctypes.byref(self._registry_hook), ctypes.byref(self._registry_events), None
        )
        properties = self._pw.pw_properties_new_string(_PROPERTIES)
        self._stream = _made(self._pw.pw_stream_new(self._core, b"punktfunk", properties), "no stream")
        self._pw.pw_stream_add_listener(
            self._stream, ctypes.byref(self._hook), ctypes.byref(self._events), None
        )
        offers, count, _kept = library.pointers(format_offers(wish))
        result = self._pw.pw_stream_connect(
            self._stream, library.DIRECTION_INPUT, self._node, _FLAGS, offers, count
        )
        if result < 0:
            raise DesktopError(f"PipeWire refuses a stream of node {self._node}: {os.strerror(-result)}")

    def _offer(self, wish: Wish) -> None:
        offers, count, _kept = library.pointers(format_offers(wish))
        with self._locked():
            self._pw.pw_stream_update_params(self._stream, offers, count)

    def _safely(self, work: Callable[..., None]) -> Callable[..., None]:
        """Return what PipeWire may call: nothing may be raised through its frames."""

        def call(_data: int | None, *arguments: Any) -> None:
            try:
                work(*arguments)
            except PunktfunkError as error:
                self._fail(error)
            except Exception as error:  # noqa: BLE001 - raised again where pictures are taken
                with self._changed:
                    self._defect = self._defect or error
                    self._changed.notify_all()

        return call

    def _on_state(self, old: int, new: int, error: bytes | None) -> None:
        if self._closed or new == old:
            return
        why = printable((error or b"").decode(errors="replace"), 200)
        if new == library.STREAM_ERROR:
            raise self._refusal(why) if self.counters.formats else self._disagreement(why)
        if new == library.STREAM_UNCONNECTED:
            # WirePlumber ends a stream that it cannot link, without a word.
            raise self._loss(why) if self.counters.formats else self._disagreement(why)

    def _on_global_remove(self, identity: int) -> None:
        if identity == self._node and not self._closed:
            raise self._loss("")

    def _disagreement(self, why: str) -> MediaError:
        return MediaError(
            f"node {self._node} of PipeWire gives no pictures that can be taken{_reason(why)}",
            "is it still there, and WirePlumber running (systemctl --user status wireplumber)? It may "
            "give only DMA-BUFs that nothing here can import or read: let the desktop copy them",
        )

    def _refusal(self, why: str) -> MediaError:
        return MediaError(
            f"PipeWire ends the stream of node {self._node}{_reason(why)}",
            "is the screen still there? Connect again",
        )

    def _loss(self, why: str) -> MediaError:
        return MediaError(
            f"the screen that was captured has gone, or PipeWire has ended{_reason(why)}",
            "connect again; if that does not help: systemctl --user restart pipewire wireplumber",
        )

    def _on_param(self, identity: int, address: int | None) -> None:
        if identity != PARAM_FORMAT:
            return
        self._forget_waiting()
        if not address:
            self._video = None
            return
        size = pods.size_with_head(ctypes.string_at(address, 8))
        video = self._video = read_format(pods.parse_object(ctypes.string_at(address, size)))
        if video is None:
            return
        self.counters.formats += 1
        dma_buf = video.modifier is not None
        wishes, count, _kept = library.pointers(buffer_wishes(cursor=self._cursor_wanted, dma_buf=dma_buf))
        self._pw.pw_stream_update_params(self._stream, wishes, count)

    def _on_add_buffer(self, handle: int) -> None:
        if self._video is None:
            raise MediaError("PipeWire gave a buffer before a format was agreed on")
        buffer = PictureBuffer(_spa_buffer(handle), self._video)
        with self._changed:
            former = self._buffers.pop(handle, None)
            if self._closed:
                former = buffer
            else:
                self._buffers[handle] = buffer
        if former is not None:
            former.let_go()

    def _on_remove_buffer(self, handle: int) -> None:
        with self._changed:
            buffer = self._buffers.pop(handle, None)
            if self._waiting is not None and self._waiting.handle == handle:
                self._waiting, self._all_changed = None, True
        if buffer is not None:
            buffer.let_go()

    def _stamp(self, about: Companions) -> int:
        """Return when a picture was made: as its producer says where that can be, else now; never before the last."""
        now = monotonic_ns()
        stamp = about.stamp_ns if now - self._oldest_stamp_ns < about.stamp_ns <= now else now
        self._newest_stamp_ns = max(self._newest_stamp_ns, stamp)
        return self._newest_stamp_ns

    def _on_process(self) -> None:
        while handle := self._pw.pw_stream_dequeue_buffer(self._stream):
            self._received(handle)

    def _received(self, handle: int) -> None:
        """Keep a picture if it is one, and give back what it replaces."""
        self.counters.received += 1
        buffer, ours = _spa_buffer(handle), self._buffers.get(handle)
        if ours is None or ours.video is not self._video:
            with self._changed:
                self._pw.pw_stream_queue_buffer(self._stream, handle)
            return
        chunks, about = copied_chunks(buffer, ours.count), companions(buffer, ours.video)
        # PipeWire loses a buffer where a cycle takes too long, and with it what had changed then.
        follows = about.sequence == self._sequence + 1
        self._sequence = about.sequence
        places = None
        empty = _is_empty(chunks[0], dma_buf=ours.is_dma_buf)
        if empty:
            self.counters.empty += 1
        else:
            if not (chunks[0].flags & library.CHUNK_CORRUPTED or about.corrupted):
                places = ours.places(chunks)
            self.counters.corrupted += places is None
        with self._changed:
            if self._buffers.get(handle) is not ours:
                return  # taken away meanwhile, and let go of
            former = self._waiting
            if places is None:
                self._pw.pw_stream_queue_buffer(self._stream, handle)
            elif former is not None:
                self.counters.replaced += 1
                self._requeue(former)
            self._all_changed = self._all_changed or not follows
            moved = about.cursor is not None and about.cursor != self._last_cursor
            if about.cursor is not None and moved:
                self._cursor = about.cursor.after(self._cursor)
                self._last_cursor = replace(about.cursor, bitmap=None)
            if places is not None:
                damage = None if self._all_changed or about.crop is not None else about.damage
                if former is not None:
                    damage = united(former.damage, damage)
                self._all_changed = about.crop is not None
                self._waiting = Picture(
                    ours, places, about.crop, self._stamp(about), about.sequence, damage, handle
                )
            elif not empty:
                self._all_changed = True
            if places is not None or moved:
                self._news += 1
                self._changed.notify_all()

    def _requeue(self, picture: Picture) -> None:
        """Give a buffer back, with ``_changed`` held; one that has gone meanwhile is left alone."""
        if self._buffers.get(picture.handle) is picture.buffer:
            self._pw.pw_stream_queue_buffer(self._stream, picture.handle)

    def _forget_waiting(self) -> None:
        """Forget a picture of a format that holds no longer; its buffer goes with the format."""
        with self._changed:
            former, self._waiting, self._all_changed = self._waiting, None, True
            if former is not None:
                self._requeue(former)

    def _fail(self, error: PunktfunkError) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def _is_news(self, seen: int) -> bool:
        return self._news != seen and (self._waiting is not None or self._cursor is not None)

    def _is_over(self) -> bool:
        return self._closed or self._failure is not None or self._defect is not None

    def _check(self) -> None:
        if self._closed:
            raise MediaError("the stream is closed", "open a new one")
        if self._defect is not None:
            raise self._defect
        if self._failure is not None:
            raise self._failure

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._pw.pw_thread_loop_lock(self._loop)
        try:
            yield
        finally:
            self._pw.pw_thread_loop_unlock(self._loop)


def _made(pointer: int | None, why: str) -> int:
    if not pointer:
        raise DesktopError(f"PipeWire's client cannot be started: {why}", "is PipeWire installed whole?")
    return pointer


def _reason(why: str) -> str:
    return f": {why}" if why else ""


def _is_empty(chunk: library.Chunk, *, dma_buf: bool) -> bool:
    """Return whether a buffer comes without a picture, for what comes along; the size of a DMA-BUF's says nothing."""
    return bool(chunk.flags & library.CHUNK_EMPTY) or (chunk.size == 0 and not dma_buf)


def _spa_buffer(handle: int) -> library.SpaBuffer:
    buffer: library.SpaBuffer = library.StreamBuffer.from_address(handle).buffer.contents
    return buffer
