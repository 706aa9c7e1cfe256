"""What describes a stream carries its keys, which no text about it may show: neither ``repr`` nor an error."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from punktfunk.host.native.sender import NativeTransport
from punktfunk.host.stream import messages
from punktfunk.host.stream.spec import RecordOptions, StreamSpec
from tests.support.stream_spec import SPEC, TRANSPORT

KEY, SALT = "0123456789abcdef0f1e2d3c4b5a6978", "d1e2f3a4"
AGREED = TRANSPORT.model_copy(update={"key": KEY, "salt": SALT})
WITH_KEY = SPEC.model_copy(update={"transport": AGREED.transport()})
DESCRIBED: dict[str, Any] = WITH_KEY.model_dump(mode="json")


def shown(text: str) -> set[str]:
    """Return the parts of four digits of the secrets that a text shows."""
    return {
        part
        for secret in (KEY, SALT)
        for at in range(len(secret) - 3)
        if (part := secret[at : at + 4]) in text
    }


def test_no_repr_shows_a_key() -> None:
    for holder in (AGREED, AGREED.transport(), WITH_KEY, messages.Prepare(DESCRIBED)):
        assert not shown(repr(holder)), holder


@pytest.mark.parametrize("left_out", sorted(AGREED.model_dump()))
def test_no_error_about_a_transport_shows_a_key(left_out: str) -> None:
    values = {name: value for name, value in AGREED.model_dump().items() if name != left_out}
    with pytest.raises(ValidationError) as raised:
        NativeTransport.model_validate(values)
    assert left_out in str(raised.value)
    assert not shown("".join(traceback.format_exception(raised.value)))


@pytest.mark.parametrize(
    "transport",
    [
        {"values": DESCRIBED["transport"]["values"]},
        {"sender": "m:f", "values": f"{AGREED.model_dump()}"},
        {"sender": "m:f", "key": KEY},
        f"{AGREED.model_dump()}",
    ],
)
def test_no_error_about_a_stream_shows_a_key(transport: object) -> None:
    with pytest.raises(ValidationError) as raised:
        StreamSpec.model_validate({**DESCRIBED, "transport": transport})
    assert "transport" in str(raised.value)
    assert not shown("".join(traceback.format_exception(raised.value)))


def test_a_worker_reads_what_the_host_wrote() -> None:
    records = RecordOptions(folder=Path("/tmp") / os.fsdecode(b"\xff"), frames=False)
    spec = WITH_KEY.model_copy(update={"records": records})
    assert StreamSpec.model_validate(spec.model_dump(mode="json")) == spec
