"""The two generations of punktfunk/1 that differ only in ALPN, timers and close codes."""

from __future__ import annotations

from enum import Enum, IntEnum

SERVER_NAME = "punktfunk"
"""SNI that every client sends and nobody checks (punktfunk/1 section 1.2)."""

KEEP_ALIVE_S = 4.0
"""PING interval: peers from v0.2.0 on drop a connection after 8 s of silence, older ones after 30 s (section 2.4)."""


class Dialect(Enum):
    """What the TLS handshake settled: no ALPN (2e125ee8 to v0.1.1) or ``pkf1`` (v0.2.0 to v0.31.0)."""

    PLAIN = "none"
    PKF1 = "pkf1"

    @property
    def alpn(self) -> list[str] | None:
        """ALPN list for the TLS stack; ``None`` sends or expects no extension at all."""
        return None if self is Dialect.PLAIN else ["pkf1"]

    @property
    def idle_timeout_s(self) -> float:
        """Advertised max_idle_timeout in seconds (section 2.4)."""
        return 30.0 if self is Dialect.PLAIN else 8.0

    @property
    def punches(self) -> bool:
        """True when clients of this dialect open their data path with ``PFpunch1`` (from v0.2.0)."""
        return self is Dialect.PKF1

    def close_code(self, code: CloseCode) -> int:
        """Return the code to put on the wire: rejections are all 0 where typed codes do not exist (section 1.6)."""
        if self is Dialect.PLAIN and code > CloseCode.ERROR:
            return int(CloseCode.DONE)
        return int(code)


class CloseCode(IntEnum):
    """Application close codes (sections 1.6 and 2.5)."""

    DONE = 0
    ERROR = 1
    BUSY = 0x42
    CLIENT_QUIT = 0x51
    APP_EXITED = 0x52
    PAIRING_NOT_ARMED = 0x60
    WINDOW_BOUND = 0x61
    RATE_LIMITED = 0x62
    NO_IDENTITY = 0x63
    DENIED = 0x64
    APPROVAL_TIMEOUT = 0x65
    SUPERSEDED = 0x66
    WIRE_VERSION = 0x67
    SETUP_FAILED = 0x68
    ACCESS_EXPIRED = 0x69
    LAUNCH_NOT_PERMITTED = 0x6A

    @property
    def rejection(self) -> bool:
        """True for codes by which a host refuses a client."""
        return self is CloseCode.BUSY or self >= CloseCode.PAIRING_NOT_ARMED

    @property
    def sentence(self) -> str:
        """Return in words what the peer meant."""
        return _SENTENCES[self]


_SENTENCES = {
    CloseCode.DONE: "the session ended",
    CloseCode.ERROR: "the peer's data plane failed",
    CloseCode.BUSY: "the host serves as many sessions as it may",
    CloseCode.CLIENT_QUIT: "the client quit",
    CloseCode.APP_EXITED: "the streamed application exited",
    CloseCode.PAIRING_NOT_ARMED: "the host is not armed for pairing",
    CloseCode.WINDOW_BOUND: "the pairing window belongs to another device",
    CloseCode.RATE_LIMITED: "too many attempts, the host is cooling down",
    CloseCode.NO_IDENTITY: "the host wants a client certificate and got none",
    CloseCode.DENIED: "the host does not know this client",
    CloseCode.APPROVAL_TIMEOUT: "nobody approved this client in time",
    CloseCode.SUPERSEDED: "another connection of this client took over",
    CloseCode.WIRE_VERSION: "host and client speak different wire versions",
    CloseCode.SETUP_FAILED: "the host could not set the session up",
    CloseCode.ACCESS_EXPIRED: "the access that was granted has expired",
    CloseCode.LAUNCH_NOT_PERMITTED: "this client may not launch that application",
}
