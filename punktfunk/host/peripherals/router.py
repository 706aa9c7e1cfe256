"""What passes beside a host's streams: input, pads, microphone and rich input in; sound, rumble and HID output out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from punktfunk.desktop.audio import SoundPlace
from punktfunk.desktop.pads import PadMaker
from punktfunk.host.client_session import ClientSession
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.peripherals.audio import AudioCapture
from punktfunk.host.peripherals.gamepads import GamepadRouter
from punktfunk.host.session_report import SessionReport
from punktfunk.input import (
    INPUT_NAMES,
    PAD_KINDS,
    FromClient,
    InputEvent,
    Mic,
    PadInput,
    RichInput,
)
from punktfunk.media.sound import SoundFormat


class InputSink(Protocol):
    """Where input goes: an injector of a desktop, or a test."""

    def inject(self, event: InputEvent) -> bool:
        """Put one event in; ``False`` when it is dropped, which the sink counts by reason."""

    def release_all(self) -> None:
        """Let go of every key and button that is down."""


class Peripherals:
    """Leads datagrams where they belong; belongs to the host's event loop, and nothing in it blocks.

    ``listening`` gives the streams that can be sent something. ``input_sink`` gets input in place of ``desktop``.
    """

    def __init__(
        self,
        listening: Callable[[], Iterable[tuple[ClientSession, SessionReport]]],
        *,
        desktop: DesktopPool | None,
        input_sink: InputSink | None,
    ) -> None:
        self._listening = listening
        self._input_sink: InputSink | None = desktop if input_sink is None else input_sink
        self.pad_maker: PadMaker | None = None if desktop is None else desktop.make_pad
        """Plugs in the pads that clients have; without one their events are input like any other."""
        self.on_datagram: Callable[[SessionReport, Mic | RichInput], None] = lambda _who, _what: None
        """Called with the microphone's sound and rich input. Must not block."""
        self._pads: dict[int, GamepadRouter] = {}
        self._place: Callable[[], SoundPlace | None] = lambda: None if desktop is None else desktop.sound
        self._sounds: dict[SoundFormat, AudioCapture] = {}
        """What is recorded, each format once for all who want it."""
        self._listeners: dict[ClientSession, SoundFormat] = {}

    def take(self, session: ClientSession, report: SessionReport, datagram: FromClient) -> None:
        """Pass on what a client has sent."""
        report.datagrams[INPUT_NAMES[type(datagram)]] += 1
        if isinstance(datagram, Mic | RichInput):
            self.on_datagram(report, datagram)
        elif not self._inject(session, report, datagram):
            report.datagrams["input_refused"] += 1

    def listen(self, session: ClientSession, sound: SoundFormat) -> None:
        """Begin to record the desktop's sound for a stream, unless its format is recorded already."""
        self._listeners[session] = sound
        capture = self._sounds.get(sound)
        if capture is None:
            capture = AudioCapture(self._place, lambda at, opus: self._hear(sound, at, opus), sound)
            self._sounds[sound] = capture
        capture.begin()

    def nobody_streams(self) -> None:
        """Record nothing any more."""
        for capture in self._sounds.values():
            capture.end()
        self._sounds.clear()
        self._listeners.clear()

    def session_over(self, session: ClientSession, report: SessionReport) -> None:
        """Unplug what a client has plugged in, and let go of what it holds down."""
        self._deafen(session)
        report.datagrams.update(session.dropped_datagrams)
        session.log.info("datagrams", session=report.number, **report.datagrams)
        pads = self._pads.pop(report.number, None)
        if pads is not None:
            pads.close()
        if self._input_sink is not None:
            # What this client held down would stay down; other clients press theirs again.
            self._input_sink.release_all()

    def _inject(self, session: ClientSession, report: SessionReport, event: InputEvent | PadInput) -> bool:
        if isinstance(event, InputEvent) and (event.kind not in PAD_KINDS or self.pad_maker is None):
            return self._input_sink is None or self._input_sink.inject(event)
        if self.pad_maker is None:
            return False
        pads = self._pads.get(report.number)
        if pads is None:
            pads = self._pads[report.number] = GamepadRouter(
                self.pad_maker,
                session.send_feedback,
                lambda error: session.log.warning("no gamepad", cause=error.cause, hint=error.hint),
            )
        return pads.inject(event)

    def _deafen(self, session: ClientSession) -> None:
        sound = self._listeners.pop(session, None)
        if sound is not None and sound not in self._listeners.values():
            self._sounds.pop(sound).end()

    def _hear(self, sound: SoundFormat, encoded_ns: int, opus: bytes) -> None:
        """Send a packet to everyone who streams with that format, each with a count and a clock of its own."""
        for session, report in self._listening():
            if self._listeners.get(session) == sound:
                session.send_sound(report.datagrams["audio_sent"], encoded_ns, opus)
                report.datagrams["audio_sent"] += 1
