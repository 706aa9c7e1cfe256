"""A log for a public report shows neither who was there nor where; what happened stays readable."""

from __future__ import annotations

import pytest

from punktfunk.mgmt.redact import Redaction

FP = "ab12" * 16


@pytest.mark.parametrize(
    "secret",
    [
        "192.168.1.20",
        "10.0.0.1",
        "2001:db8::7",
        "fe80::1%eth0",
        "::ffff:192.168.1.20",
        "::1",
        "02:42:ac:11:00:02",
        FP,
        FP.upper(),
        FP[:16],
        "Anna's laptop",
        "workstation",
    ],
)
@pytest.mark.parametrize("line", ["peer {}", "peer={} port=9777", "('{}', 9777)", "x {}, y", "to [{}]:9777"])
def test_addresses_fingerprints_and_names_are_hidden(secret: str, line: str) -> None:
    shown = Redaction(["Anna's laptop", "workstation", "w"]).text(line.format(secret))
    assert secret not in shown
    assert secret.split("%", maxsplit=1)[0] not in shown
    assert shown != line.format(secret)


def test_one_address_stays_one_throughout() -> None:
    redaction = Redaction([])
    assert redaction.text("a 10.0.0.1 b 10.0.0.2 c 10.0.0.1") == "a address-1 b address-2 c address-1"
    assert redaction.text("again 10.0.0.2") == "again address-2"


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-22T20:38:42.534005Z info    mgmt: management API listens",
        "mode='1280x720@60' fec=20 frames=300 took 00:01:02",
        "session 3: 59.97 fps, version 1.2.3, p50 5.49 ms",
    ],
)
def test_what_happened_stays_readable(line: str) -> None:
    assert Redaction(["w"]).text(line) == line


def test_home_folders_and_names_in_fields_are_hidden() -> None:
    redaction = Redaction([])
    assert redaction.text("cannot read /home/anna/x.mp4") == "cannot read /home/(hidden)/x.mp4"
    assert redaction.fields({"name": "Anna", "frames": 3}) == {"name": "(hidden)", "frames": 3}
