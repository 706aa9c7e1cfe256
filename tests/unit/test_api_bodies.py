"""What the API tells of modes: flat fields, by the names of its document, whatever carries them within a host."""

from __future__ import annotations

from punktfunk.mgmt.interface import GameStreamSession, GameStreamStatus, GameStreamStream
from punktfunk.mgmt.live_models import ModeBody
from punktfunk.mgmt.models import Status
from punktfunk.units import Mode


def test_a_sessions_mode_is_told_in_the_fields_of_the_document() -> None:
    body = ModeBody.model_validate(Mode(1920, 1080, 144))
    assert body.model_dump() == {"width": 1920, "height": 1080, "refresh_hz": 144}


def test_a_gamestream_clients_mode_is_told_flat_and_its_rate_as_fps() -> None:
    status = GameStreamStatus(
        video_streaming=True,
        session=GameStreamSession(Mode(1920, 1080, 144)),
        stream=GameStreamStream(Mode(1280, 720, 60), 20_000, 1024, 2, "h264"),
    )
    told = Status.model_validate(status).model_dump(mode="json")
    assert told["session"] == {"width": 1920, "height": 1080, "fps": 144}
    assert told["stream"] == {
        "width": 1280,
        "height": 720,
        "fps": 60,
        "bitrate_kbps": 20_000,
        "packet_size": 1024,
        "min_fec": 2,
        "codec": "h264",
    }
