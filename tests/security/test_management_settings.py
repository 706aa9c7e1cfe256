"""A change through the API never leaves a host that does not start again, nor one that does not end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from punktfunk.clock import monotonic_ns
from punktfunk.errors import DriverMissingError, SettingsError
from punktfunk.host import describe
from punktfunk.host.config import HostConfig
from punktfunk.host.native.negotiation import wanted_kbps
from punktfunk.host.serve_config import ServeConfig
from punktfunk.media.encoders import ANSWERS
from punktfunk.media.encoders.base import MAX_BITRATE
from punktfunk.native.handshake import Hello, WireMode
from punktfunk.units import Bitrate

SETTINGS = "/api/v1/settings"


def test_an_encoder_that_is_not_there_is_refused_and_not_stored(
    managed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise DriverMissingError("no driver", "install one")

    monkeypatch.setattr(describe, "choose_encoder", missing)
    host = managed()
    with host.program() as program:
        refused = program.patch(SETTINGS, json={"encoder": "nvenc"})
        assert refused.status_code == 422
        assert "no driver" in refused.json()["error"]
        assert {row["name"]: row["value"] for row in program.get(SETTINGS).json()}["encoder"] == "auto"
    host.end()
    # One that was there when it was chosen, and is gone now.
    (host.state_dir / "settings.json").write_text('{"schema_version": 1, "settings": {"encoder": "nvenc"}}')
    with pytest.raises(SettingsError, match="no driver") as caught:
        managed()
    assert "--encoder auto" in caught.value.hint
    managed(fixed={"encoder": "--encoder"})


def test_an_encoder_whose_driver_has_come_since_is_asked_again_and_stored(
    managed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing, later_ns = [DriverMissingError("no driver", "install one")], [0]
    monkeypatch.setattr(ANSWERS, "_ask", lambda names: {name: error for name in names for error in missing})
    monkeypatch.setattr(ANSWERS, "_now", lambda: monotonic_ns() + later_ns[0])
    ANSWERS.forget()
    try:
        host = managed()
        with host.program() as program:
            assert program.patch(SETTINGS, json={"encoder": "nvenc"}).status_code == 422
            missing.clear()
            assert program.patch(SETTINGS, json={"encoder": "nvenc"}).status_code == 422, "too soon"
            later_ns[0] = 30_000_000_000
            assert program.patch(SETTINGS, json={"encoder": "nvenc"}).status_code == 200
        host.end()
    finally:
        ANSWERS.forget()


def test_a_pointer_that_what_is_streamed_cannot_tell_is_refused_and_not_stored(
    managed: Callable[..., Any],
) -> None:
    host = managed()
    with host.program() as program:
        refused = program.patch(SETTINGS, json={"cursor": "separate"})
        assert refused.status_code == 422
        assert "cursor: the pointer cannot be told beside the pictures" in refused.json()["error"]
        assert program.patch(SETTINGS, json={"cursor": "painted"}).status_code == 200
        assert {row["name"]: row["value"] for row in program.get(SETTINGS).json()}["cursor"] == "painted"
    host.end()


def test_a_host_ends_though_its_state_folder_takes_no_more_changes(managed: Callable[..., Any]) -> None:
    host = managed()
    where = host.state_dir / "mgmt-url"
    where.unlink()
    where.mkdir()  # cannot be unlinked, as nothing can in a folder that has become read-only
    host.end()
    assert host._failed is None
    assert not host._thread.is_alive()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"management": False, "gamestream": False}, "without a protocol"),
        ({"arm_seconds": 60}, "native protocol"),
    ],
)
def test_options_that_leave_nothing_to_serve_or_to_pair_are_refused(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        ServeConfig(host=HostConfig(), native=False, **options)


def test_a_host_of_gamestream_alone_needs_no_management() -> None:
    alone = ServeConfig(host=HostConfig(), native=False, management=False)
    assert alone.gamestream_required
    beside = ServeConfig(host=HostConfig())
    assert (beside.gamestream_wanted, beside.gamestream_required) == (True, False)


def test_a_bitrate_that_no_encoder_takes_is_refused_at_the_start_and_capped_for_a_client() -> None:
    with pytest.raises(ValidationError, match="out of range"):
        HostConfig(bitrate=Bitrate(MAX_BITRATE.bits_per_second + 1))
    hello = Hello(WireMode(1280, 720, 60), bitrate_kbps=8_000_000)
    assert wanted_kbps(HostConfig(), hello, 1408) == MAX_BITRATE.kbps
