"""Run one stream from its configuration: JSON lines on standard output, logs on standard error."""

from __future__ import annotations

import json

from punktfunk.client.gamestream.config import GameStreamConfig
from punktfunk.client.gamestream.service import GameStreamClient
from punktfunk.client.input import click, move_to, scroll, tap, text
from punktfunk.client.json_lines import exit_status, say, summary_line
from punktfunk.client.messages import Progress
from punktfunk.client.until_end import until_end
from punktfunk.errors import PunktfunkError
from punktfunk.input import InputEvent

_WIND_DOWN_S = 2.5


async def run_client(config: GameStreamConfig) -> int:
    """Receive until the stream ends, or SIGTERM, SIGINT or the end of standard input.

    Lines: ``ready`` (what was agreed on), ``second``, ``feedback`` (what the host has for pads), ``ended`` (the
    summary). Returns the exit status: 1 when the stream was no success.
    """
    client = GameStreamClient(config)
    client.on_progress = _second
    client.on_feedback = lambda feedback: say("feedback", kind=type(feedback).__name__, what=str(feedback))
    async with client:
        choice, info = client.choice, client.info
        assert choice is not None
        assert info is not None
        say(
            "ready",
            host=info.name,
            mode=str(config.mode),
            codec=choice.codec,
            resumed=client.resumed,
            packet_bytes=choice.packet_bytes,
            encryption=int(choice.encryption),
            encrypted_sound=choice.encrypted_sound,
        )
        await until_end(client, _WIND_DOWN_S, lambda line: obey(client, line))
    summary = await client.finished()
    say("ended", **summary_line(summary), control=client.control_counters)
    return exit_status(summary)


def obey(client: GameStreamClient, line: bytes) -> None:
    """Do what a JSON line on standard input asks for; anything else is answered with a ``refused`` line.

    ``{"do": "keyframe"}``, ``{"do": "type", "text": "…"}``, ``{"do": "tap", "keys": [0x41]}``,
    ``{"do": "click", "button": 1}``, ``{"do": "scroll", "notches": 1}`` and
    ``{"do": "move", "x": 1, "y": 1, "width": 100, "height": 100}``.
    """
    try:
        for event in _events(client, json.loads(line)):
            client.send(event)
    except (ValueError, PunktfunkError) as error:
        say("refused", reason=str(error))


def _events(client: GameStreamClient, order: object) -> list[InputEvent]:
    match order:
        case {"do": "keyframe"}:
            client.request_keyframe()
            return []
        case {"do": "type", "text": str(characters)}:
            return list(text(characters))
        case {"do": "tap", "keys": list(keys)} if all(isinstance(key, int) for key in keys):
            return list(tap(*keys))
        case {"do": "click", "button": int(button)}:
            return list(click(button))
        case {"do": "scroll", "notches": int(notches)}:
            return [scroll(notches)]
        case {"do": "move", "x": int(x), "y": int(y), "width": int(width), "height": int(height)}:
            return [move_to(x, y, width, height)]
        case _:
            raise ValueError("unknown order")


def _second(progress: Progress) -> None:
    say(
        "second",
        frames=progress.frames,
        bytes=progress.bytes,
        pictures=progress.counters.get("pictures"),
        sound_packets=progress.counters.get("sound_packets"),
        last_packet_ns=progress.last_packet_ns,
    )
