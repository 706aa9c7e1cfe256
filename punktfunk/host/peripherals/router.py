"""What passes beside a host's streams: input, pads, microphone and rich input in; sound, rumble and HID output out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from punktfunk.desktop.audio import SoundPlace
from punktfunk.desktop.pads import PadMaker
from punktfunk.errors import PunktfunkError
from punktfunk.host.client_session import ClientSession
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.peripherals.audio import AudioCapture
from punktfunk.host.peripherals.gamepads import GamepadRouter
from punktfunk.host.peripherals.kept_pads import KeptPads
from punktfunk.host.peripherals.own_sinks import OwnSinks
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

_SOUND = "sound"
"""What a notice is about."""


class InputSink(Protocol):
    """Where input goes: an injector of a desktop, or a test."""

    @property
    def takes_touch(self) -> bool:
        """Whether fingers and pens arrive as what they are."""

    def inject(self, event: InputEvent) -> bool:
        """Put one event in; ``False`` when it is dropped, which the sink counts by reason."""

    def release_all(self) -> None:
        """Let go of every key and button that is down."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """A desktop, and how what is to be heard of it is coded."""

    desktop: DesktopPool | None
    sound: SoundFormat

    def place(self) -> SoundPlace | None:
        """Return where it plays now."""
        return None if self.desktop is None else self.desktop.sound


class Peripherals:
    """Leads datagrams where they belong; belongs to the host's event loop, and nothing in it blocks.

    ``listening`` gives the streams that can be sent something. ``input_sink`` gets input in place of their desktops.
    """

    def __init__(
        self,
        listening: Callable[[], Iterable[tuple[ClientSession, SessionReport]]],
        *,
        input_sink: InputSink | None,
    ) -> None:
        self._listening = listening
        self._input_sink = input_sink
        self.pad_maker: PadMaker | None = None
        """Plugs in the pads that clients have, in place of what their desktops plug them in with. Without either their
        events are input like any other."""
        self.on_datagram: Callable[[SessionReport, Mic | RichInput], None] = lambda _who, _what: None
        """Called with the microphone's sound and rich input. Must not block."""
        self.own_sinks: OwnSinks | None = None
        """Makes a sink for what the user's own session plays, where that is to be."""
        self._pads: dict[int, GamepadRouter] = {}
        self.kept_pads = KeptPads()
        """Those of clients that have left."""
        self._sounds: dict[_Heard, AudioCapture] = {}
        """What is recorded, each format of a desktop once for all who want it."""
        self._listeners: dict[ClientSession, _Heard] = {}
        self._wish_silence: set[ClientSession] = set()
        """Those of them who wish the host's speakers to be silent."""
        self._silenced: set[DesktopPool] = set()

    def takes_touch(self, desktop: DesktopPool | None) -> bool:
        """Whether a client of this desktop should send fingers and pens as what they are.

        Where nothing takes them so, it had better move a pointer by them itself.
        """
        sink = desktop if self._input_sink is None else self._input_sink
        return sink is not None and sink.takes_touch

    def take(self, session: ClientSession, report: SessionReport, datagram: FromClient) -> None:
        """Pass on what a client has sent."""
        report.datagrams[INPUT_NAMES[type(datagram)]] += 1
        if isinstance(datagram, Mic | RichInput):
            self.on_datagram(report, datagram)
        elif not self._inject(session, report, datagram):
            report.datagrams["input_refused"] += 1

    def listen(self, session: ClientSession, report: SessionReport) -> None:
        """Begin to record the sound of a stream's desktop, unless its format is recorded there already."""
        heard = self._listeners[session] = _Heard(report.desktop, report._sound)
        capture = self._sounds.get(heard)
        if capture is None:
            capture = AudioCapture(
                lambda: self._place(heard),
                lambda at, opus: self._hear(heard, at, opus),
                heard.sound,
                lambda words: self._sound_is(heard, words),
            )
            self._sounds[heard] = capture
        if not report._host_audio:
            self._wish_silence.add(session)

        def go_on() -> None:
            if self._sounds.get(heard) is capture:
                capture.begin()
                self._set_speakers(report.desktop)

        if self.own_sinks is None:
            go_on()
        else:
            self.own_sinks.begin(heard.place(), go_on)

    def nobody_streams(self) -> None:
        """Record nothing any more."""
        for capture in self._sounds.values():
            capture.end()
        self._sounds.clear()
        self._listeners.clear()
        self._wish_silence.clear()
        self._end_own_sink()
        for desktop in list(self._silenced):
            self._set_speakers(desktop)

    def session_begins(self, report: SessionReport) -> None:
        """Unplug what its client has left where that wishes no more to find it."""
        if report.peer.fingerprint and not report._keep_pads:
            self.kept_pads.unplug(report.peer.fingerprint)

    def session_over(self, session: ClientSession, report: SessionReport) -> None:
        """Unplug what a client has plugged in, unless that is to stay, and let go of what it holds down."""
        self._deafen(session)
        report.datagrams.update(session.dropped_datagrams)
        session.log.info("datagrams", session=report.number, **report.datagrams)
        pads = self._pads.pop(report.number, None)
        if pads is not None and report.peer.fingerprint and report._keep_pads and self._may_stay(report):
            self.kept_pads.keep(report.peer.fingerprint, report.desktop, pads)
        elif pads is not None:
            pads.close()
        sink = self._sink(report)
        if sink is not None:
            # What this client held down would stay down; other clients press theirs again.
            sink.release_all()

    def _sink(self, report: SessionReport) -> InputSink | None:
        return report.desktop if self._input_sink is None else self._input_sink

    def _pad_maker(self, report: SessionReport) -> PadMaker | None:
        if self.pad_maker is not None or report.desktop is None:
            return self.pad_maker
        return report.desktop.make_pad

    def _inject(self, session: ClientSession, report: SessionReport, event: InputEvent | PadInput) -> bool:
        make_pad = self._pad_maker(report)
        if isinstance(event, InputEvent) and (event.kind not in PAD_KINDS or make_pad is None):
            sink = self._sink(report)
            return sink is None or sink.inject(event)
        if make_pad is None:
            return False
        pads = self._pads.get(report.number)
        if pads is None:
            pads = self._pads[report.number] = self._pads_of(session, report, make_pad)
        return pads.inject(event)

    def _pads_of(self, session: ClientSession, report: SessionReport, make_pad: PadMaker) -> GamepadRouter:
        def refused(error: PunktfunkError) -> None:
            session.log.warning("no gamepad", cause=error.cause, hint=error.hint)

        pads = self.kept_pads.give_back(report.peer.fingerprint, report.desktop)
        if pads is None:
            return GamepadRouter(make_pad, session.send_feedback, refused)
        pads.adopt(session.send_feedback, refused)
        return pads

    def _may_stay(self, left: SessionReport) -> bool:
        """Whether no newer session of the client, which took the place of that, has pads or wishes none kept."""
        return not any(
            report.peer.fingerprint == left.peer.fingerprint
            and (report.number in self._pads or not report._keep_pads)
            for _, report in self._listening()
        )

    def _deafen(self, session: ClientSession) -> None:
        heard = self._listeners.pop(session, None)
        self._wish_silence.discard(session)
        if heard is None:
            return
        if heard not in self._listeners.values():
            self._sounds.pop(heard).end()
        self._end_own_sink()
        self._set_speakers(heard.desktop)

    def _set_speakers(self, desktop: DesktopPool | None) -> None:
        """Silence the speakers of a desktop while all who hear it wish so."""
        if desktop is None:
            return
        here = {session for session, heard in self._listeners.items() if heard.desktop is desktop}
        silent = bool(here) and here <= self._wish_silence
        if self.own_sinks is not None and self.own_sinks.takes(desktop.sound):
            silent = False  # nothing plays on the speakers
        if silent == (desktop in self._silenced):
            return
        (self._silenced.add if silent else self._silenced.discard)(desktop)
        desktop.play_here(not silent)

    def _place(self, heard: _Heard) -> SoundPlace | None:
        """Return where what is to be heard plays now."""
        place = heard.place()
        return place if self.own_sinks is None else self.own_sinks.place(place)

    def _end_own_sink(self) -> None:
        """Take the sink of our own away where nobody listens any more to what it was made for."""
        if self.own_sinks is not None and not any(
            self.own_sinks.takes(heard.place()) for heard in self._listeners.values()
        ):
            self.own_sinks.end()

    def _sound_is(self, heard: _Heard, words: str) -> None:
        """Note in each session that hears that what is wrong with it; "" for nothing any more."""
        for session, report in self._listening():
            if self._listeners.get(session) == heard:
                report.notices.pop(_SOUND, None)
                if words:
                    report.notices[_SOUND] = f"no sound: {words}"
        if words and self.own_sinks is not None and self.own_sinks.takes(heard.place()):
            self.own_sinks.renew(self._record_again)

    def _record_again(self) -> None:
        """Record anew what plays into a sink of our own that was made anew."""
        for heard, capture in list(self._sounds.items()):
            if self.own_sinks is not None and self.own_sinks.takes(heard.place()):
                capture.end()
                self._sound_is(heard, "")
                capture.begin()

    def _hear(self, heard: _Heard, encoded_ns: int, opus: bytes) -> None:
        """Send a packet to everyone who hears that, each with a count and a clock of its own."""
        for session, report in self._listening():
            if self._listeners.get(session) == heard:
                session.send_sound(report.datagrams["audio_sent"], encoded_ns, opus)
                report.datagrams["audio_sent"] += 1
