"""What ``/launch`` and ``/resume`` ask for (gamestream section 4.3): parsed from the query of a paired client.

What a client announces later by RTSP is authoritative for the stream (section 5.5); what stands here is the session's
key, the app, and hints that the host needs before there is a stream.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from punktfunk.addresses import written
from punktfunk.errors import StatusError
from punktfunk.gamestream.surround import SurroundParams

STEREO = 196_610
"""``surroundAudioInfo`` of stereo, which a client that leaves it out means: mask 3 in the upper half, 2 channels."""
MILLI_HZ_FROM = 1000
"""Rates from here on are thousandths of a frame a second: one client sends them so."""
SCALES_PERCENT = range(20, 501)
"""How large a desktop can be asked to draw things."""

_KEY = re.compile(r"[0-9A-Fa-f]{32}")
_INTEGER = re.compile(r"-?[0-9]{1,10}")
_MODE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})x([0-9]{1,7}(?:\.[0-9]{1,6})?)")


@dataclass(frozen=True, slots=True)
class ModeHint:
    """Picture size in pixels and frames a second, as a client said it before its stream was negotiated; 0: no say."""

    width: int
    height: int
    fps: float


@dataclass(frozen=True, slots=True)
class Surround:
    """How many channels a client plays, and its speakers as the bits of a WAVE mask."""

    channels: int
    mask: int


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """What a client wants to launch or to resume. The key never appears in ``repr``."""

    app_id: int
    """Of the catalogue; 0 resumes whatever runs."""
    mode: ModeHint | None
    rikey: bytes = field(repr=False)
    """AES-128 key of the session, 16 bytes."""
    rikeyid: int
    """Signed, 32 bits; see :attr:`rikeyid_bytes`."""
    host_audio: bool
    """Whether the host's speakers go on playing."""
    surround: Surround
    surround_params: SurroundParams | None
    """A layout of the client's own, for 6 or 8 channels."""
    gamepads: int
    """Bit mask of the gamepads that are there."""
    persist_gamepads: bool
    """Whether gamepads stay when the client leaves."""
    hdr: bool
    encrypted_rtsp: bool
    """Whether the client takes ``rtspenc://``."""
    continuous_audio: bool
    """Whether silence is streamed too."""
    may_change_mode: bool
    """Whether the host may change the mode of its display for the client (``sops``)."""
    scale: float = 1.0
    """How large things are to be drawn, as Artemis clients say it (``scaleFactor``, in percent)."""

    @property
    def rikeyid_bytes(self) -> bytes:
        """The number as big-endian bytes: the beginning of the legacy input IV, the base of the audio IV."""
        return self.rikeyid.to_bytes(4, "big", signed=True)

    @classmethod
    def parse(cls, query: Mapping[str, str], *, resume: bool) -> LaunchRequest:
        """Read the parameters of ``/launch`` or ``/resume``.

        Raises :class:`~punktfunk.errors.StatusError` with status 400 for one that is missing or malformed. The mode
        is only a hint: one that cannot be read counts as none.
        """
        surround = _integer(query, "surroundAudioInfo", STEREO) & 0xFFFF_FFFF
        return cls(
            app_id=_integer(query, "appid", 0 if resume else None),
            mode=_mode(query.get("mode", "")),
            rikey=_key(query),
            rikeyid=_signed(_integer(query, "rikeyid")),
            host_audio=bool(_integer(query, "localAudioPlayMode", 0 if resume else None)),
            surround=Surround(surround & 0xFFFF, surround >> 16),
            surround_params=_surround_params(query.get("surroundParams", "")),
            gamepads=_integer(query, "remoteControllersBitmap", _integer(query, "gcmap", 0)) & 0xFFFF,
            persist_gamepads=bool(_integer(query, "gcpersist", 0)),
            hdr=bool(_integer(query, "hdrMode", 0)),
            encrypted_rtsp=_integer(query, "corever", 0) >= 1,
            continuous_audio=bool(_integer(query, "continuousAudio", 0)),
            may_change_mode=bool(_integer(query, "sops", 0)),
            scale=_scale(_integer(query, "scaleFactor", 100)),
        )


def _scale(percent: int) -> float:
    """Return the factor; one that no desktop draws at counts as none."""
    return percent / 100 if percent in SCALES_PERCENT else 1.0


def _missing(name: str) -> StatusError:
    return StatusError(f"{name} is missing", status=400)


def _integer(query: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = query.get(name, "")
    if not text:
        if default is None:
            raise _missing(name)
        return default
    if not _INTEGER.fullmatch(text):
        raise StatusError(f"{name} is no number", status=400)
    value = int(text)
    if not -(2**31) <= value < 2**32:
        raise StatusError(f"{name} has more than 32 bits", status=400)
    return value


def _signed(value: int) -> int:
    """Return the signed number of the same 32 bits."""
    return value - 2**32 if value >= 2**31 else value


def _key(query: Mapping[str, str]) -> bytes:
    text = query.get("rikey", "")
    if not text:
        raise _missing("rikey")
    if not _KEY.fullmatch(text):
        raise StatusError("rikey is not 32 hex digits", status=400)
    return bytes.fromhex(text)


def _mode(text: str) -> ModeHint | None:
    match = _MODE.fullmatch(text)
    if match is None:
        return None
    fps = float(match[3])
    return ModeHint(int(match[1]), int(match[2]), fps / 1000 if fps >= MILLI_HZ_FROM else fps)


def _surround_params(text: str) -> SurroundParams | None:
    """Return a custom layout that an encoder can be set up by; ``None`` when the client has none."""
    found = SurroundParams.parse(text) if text else None
    if text and (found is None or found.channels == 2):
        raise StatusError("surroundParams is no layout of 6 or 8 channels", status=400)
    return found


def rtsp_url(address: str, port: int, *, encrypted: bool) -> str:
    """Return ``sessionUrl0``: where a client goes on by RTSP, at the ``address`` of this host that it reached.

    Nothing follows the port: clients take what stands behind the last colon (section 4.3). A zone is left out, for it
    names an interface of this machine.
    """
    return f"{'rtspenc' if encrypted else 'rtsp'}://{written(address.partition('%')[0], port)}"
