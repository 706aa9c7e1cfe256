"""Why a host ends a client's session, whatever the wire: each wire has codes of its own for it."""

from __future__ import annotations

from enum import Enum


class EndReason(Enum):
    """A host's reason; the value is what its log and its reports say."""

    HOST_STOPPED = "host stopped"
    ENDED_AT_HOST = "ended at the host"
    UNPAIRED = "unpaired"
    SUPERSEDED = "superseded"
    """The same client has come again."""
    APP_ENDED = "the app has ended"
    """What the client streamed is over, by itself or quit."""
    NOT_STARTED = "no Start within 3 s, and others wait"
    """It asked for a stream and did not start it."""
