"""What a person should know of a session while it streams: in its report, for console and API, and in the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from punktfunk.errors import SourceLostError
from punktfunk.host.client_session import ClientSession
from punktfunk.host.session_report import SessionReport
from punktfunk.host.stream import messages
from punktfunk.media.encoders import ANSWERS, HARDWARE, EncoderName

_FRAME_RATE, _DESKTOP = "frame rate", "desktop"
_MOST_HANDOVERS: Final = 8
"""Of one session that are logged: a desktop may change with each picture what it gives."""
ENCODER = "encoder"
"""What notices about an encoder that was replaced go by."""


def take(
    session: ClientSession,
    report: SessionReport,
    message: messages.FrameRate | messages.EncoderReplaced | messages.SourceLost | messages.SourceTaken,
) -> None:
    """Take note of what a worker says; what was lost is looked for."""
    match message:
        case messages.FrameRate():
            _frame_rate(session, report, message)
        case messages.EncoderReplaced():
            _encoder(session, report, message)
        case messages.SourceLost(_, cause, hint):
            words = f"the desktop gives no pictures, and is asked for others: {cause}"
            report.notices[_DESKTOP] = words
            session.log.error("desktop lost", cause=cause, hint=hint)
            if report._returning is not None:
                report._returning.lost(SourceLostError(cause, hint))
        case messages.SourceTaken(cause, hint):
            if report._returning is not None:
                report._returning.taken(SourceLostError(cause, hint) if cause else None)


def handed_over(session: ClientSession, report: SessionReport, message: messages.HandedOver) -> None:
    """Take note of how pictures reach the encoder."""
    told = report.handover = message.way, message.reason
    if told not in report._told_handovers and len(report._told_handovers) < _MOST_HANDOVERS:
        report._told_handovers.add(told)
        session.log.info("pictures reach the encoder", way=message.way, reason=message.reason)


def left_alone(
    session: ClientSession, report: SessionReport, encoder: EncoderName, causes: Sequence[str]
) -> None:
    """Take note of encoders that would come before this one, and are suspect."""
    words = "; ".join(causes)
    report.notices[ENCODER] = f"{encoder} encodes: {words}"
    session.log.warning("encoder left alone", cause=words, successor=encoder)


def suspected(session: ClientSession, encoder: str | None, what: str) -> None:
    """Leave the GPU alone for a while whose encoder held or crashed this session's stream."""
    if encoder is None or encoder not in HARDWARE:
        return
    seconds = ANSWERS.suspect(EncoderName(encoder), what)
    session.log.warning("encoder is suspect", encoder=encoder, cause=what, minutes=round(seconds / 60))


def desktop_back(session: ClientSession, report: SessionReport) -> None:
    """Take note that there are pictures again."""
    report.notices.pop(_DESKTOP, None)
    session.log.warning("desktop back")


def _frame_rate(session: ClientSession, report: SessionReport, message: messages.FrameRate) -> None:
    if message.hz == message.wanted_hz:
        report.notices.pop(_FRAME_RATE, None)
        session.log.info("frame rate as asked for", hz=message.hz, encoder=report.encoder)
        return
    took = f"{report.encoder} takes {message.encode_us / 1000:.0f} ms a picture"
    report.notices[_FRAME_RATE] = f"{message.hz} frames a second of {message.wanted_hz}: {took}"
    session.log.warning(
        "frame rate lowered",
        hz=message.hz,
        wanted_hz=message.wanted_hz,
        encoder=report.encoder,
        encode_us=message.encode_us,
    )


def _encoder(session: ClientSession, report: SessionReport, message: messages.EncoderReplaced) -> None:
    report.encoder = message.encoder
    if not message.refused:
        report.notices.pop(ENCODER, None)
        session.log.info("encoder", encoder=message.encoder)
        return
    for former, code, cause, hint in message.refused:
        session.log.warning(
            "encoder refused", encoder=former, code=code, cause=cause, hint=hint, successor=message.encoder
        )
    causes = "; ".join(cause for _, _, cause, _ in message.refused)
    report.notices[ENCODER] = f"{message.encoder} took over: {causes}"
