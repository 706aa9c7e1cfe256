"""The ports of a GameStream host: all are a fixed distance from one (gamestream section 1.1)."""

from __future__ import annotations

from dataclasses import dataclass

from punktfunk.errors import ConfigError

BASE_PORT = 47989
"""Where clients look when nothing else was said."""
MIN_BASE_PORT, MAX_BASE_PORT = 1029, 65535 - 21
"""HTTPS is five below and no privileged port; RTSP is 21 above."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that follow from the base; raise ``ConfigError`` where one of them would be none."""

    base: int = BASE_PORT

    def __post_init__(self) -> None:
        if not MIN_BASE_PORT <= self.base <= MAX_BASE_PORT:
            raise ConfigError(
                f"GameStream cannot have {self.base} for its base port",
                f"use {MIN_BASE_PORT} to {MAX_BASE_PORT}; clients look at {BASE_PORT}",
            )

    @property
    def tcp(self) -> tuple[int, ...]:
        """Those of TCP, ascending: what a firewall has to let through."""
        return (self.https, self.http, self.rtsp)

    @property
    def udp(self) -> tuple[int, ...]:
        """Those of UDP, ascending."""
        return (self.video, self.control, self.audio)

    @property
    def http(self) -> int:
        """TCP: what the host is, and pairing."""
        return self.base

    @property
    def https(self) -> int:
        """TCP: everything that paired clients ask for."""
        return self.base - 5

    @property
    def rtsp(self) -> int:
        """TCP: what a stream is to be like."""
        return self.base + 21

    @property
    def video(self) -> int:
        """UDP: RTP video to the client, pings from it."""
        return self.base + 9

    @property
    def control(self) -> int:
        """UDP: ENet, both ways."""
        return self.base + 10

    @property
    def audio(self) -> int:
        """UDP: RTP sound to the client, pings from it."""
        return self.base + 11
