"""What a GameStream host says by HTTP: itself, its apps, and why not; and what a launch asks for."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from punktfunk.app import DESKTOP, App
from punktfunk.errors import StatusError
from punktfunk.gamestream import xml
from punktfunk.gamestream.describe import CodecModes
from punktfunk.gamestream.launch import LaunchRequest, ModeHint, Surround, rtsp_url
from punktfunk.gamestream.serverinfo import ServerInfo, local_ip, unique_id
from punktfunk.gamestream.surround import SurroundParams

INFO = ServerInfo(
    hostname="den",
    unique_id="0011223344556677",
    https_port=47984,
    http_port=47989,
    codec_mask=769,
    running_app=0,
    local_ip="192.168.1.5",
    mac="02:00:00:00:00:05",
)
LAUNCH = {
    "appid": "1",
    "mode": "1920x1080x60",
    "rikey": "000102030405060708090A0B0C0D0E0F",
    "rikeyid": "-2",
    "localAudioPlayMode": "0",
    "surroundAudioInfo": "196610",
    "corever": "1",
}


def fields(document: bytes) -> dict[str, str]:
    root = ElementTree.fromstring(document)
    assert root.attrib["status_code"] == "200"
    return {child.tag: child.text or "" for child in root}


@pytest.mark.conformance(5)
def test_a_host_says_all_that_clients_need() -> None:
    said = fields(INFO.document())
    assert said["hostname"] == "den"
    assert said["uniqueid"] == "0011223344556677"
    assert said["GfeVersion"] == "3.23.0.74"
    assert (said["HttpsPort"], said["ExternalPort"]) == ("47984", "47989")
    version = [int(part) for part in said["appversion"].split(".")]
    assert len(version) == 4
    assert version[:3] == [7, 1, 431]
    assert version[3] < 0
    assert said["ServerCodecModeSupport"] == "769"
    assert "MJOLNIR" not in said["state"]
    assert all(said.values())


@pytest.mark.conformance(7)
def test_only_a_paired_client_is_told_the_hardware_address() -> None:
    stranger = fields(INFO.document())
    assert (stranger["PairStatus"], stranger["mac"]) == ("0", "00:00:00:00:00:00")
    client = fields(replace(INFO, paired=True).document())
    assert (client["PairStatus"], client["mac"]) == ("1", "02:00:00:00:00:05")


@pytest.mark.conformance(8)
def test_the_local_address_is_an_ipv4_one() -> None:
    assert local_ip("192.168.1.5") == "192.168.1.5"
    assert local_ip("::ffff:192.168.1.5") == "192.168.1.5"
    assert local_ip("fe80::1%eth0") == local_ip("2001:db8::1") == "127.0.0.1"
    assert b"ExternalIP" not in INFO.document()


@pytest.mark.conformance(9)
def test_busy_and_the_app_that_runs_are_one_thing() -> None:
    for app in (0, 1, 2**31 - 1):
        said = fields(replace(INFO, running_app=app).document())
        assert said["currentgame"] == str(app)
        assert said["state"] == ("SUNSHINE_SERVER_BUSY" if app else "SUNSHINE_SERVER_FREE")


def test_hevc_is_told_where_an_encoder_makes_it() -> None:
    for mask, pixels in (
        (CodecModes.H264, "0"),
        (CodecModes.H264 | CodecModes.HEVC, "1869449984"),
        (CodecModes.AV1, "0"),
    ):
        assert fields(replace(INFO, codec_mask=mask).document())["MaxLumaPixelsHEVC"] == pixels


@pytest.mark.conformance(6)
def test_the_number_of_a_host_depends_on_its_certificate_alone() -> None:
    assert unique_id("ab" * 32) == unique_id("ab" * 32) != unique_id("ac" * 32)
    assert re.fullmatch("[0-9a-f]{16}", unique_id("ab" * 32))


@pytest.mark.conformance(28)
def test_the_list_of_apps_has_no_white_space_between_elements() -> None:
    document = xml.app_list([DESKTOP, App(7, "Tom & <Jerry> \"'é"), App(8, "a\x00b")], hdr=True)
    text = document.decode().partition("\n")[2]
    assert re.search(r">\s+<", text) is None
    assert text.startswith('<root status_code="200"><App><')
    found = [{child.tag: child.text for child in app} for app in ElementTree.fromstring(document)]
    assert found == [
        {"IsHdrSupported": "1", "AppTitle": "Desktop", "ID": "1"},
        {"IsHdrSupported": "1", "AppTitle": "Tom & <Jerry> \"'é", "ID": "7"},
        {"IsHdrSupported": "1", "AppTitle": "a�b", "ID": "8"},
    ]


@pytest.mark.conformance(3)
def test_a_refusal_says_its_status_and_the_path_that_was_asked_for() -> None:
    document = xml.reply([("paired", 0)], status=401, message='no "client"', query="/<a>&\x1b")
    root = ElementTree.fromstring(document)
    assert root.attrib == {"status_code": "401", "status_message": 'no "client"', "query": "/<a>&�"}
    assert root.findtext("paired") == "0"


@pytest.mark.conformance(30)
def test_a_launch_is_read() -> None:
    request = LaunchRequest.parse(LAUNCH, resume=False)
    assert request.app_id == 1
    assert request.mode == ModeHint(1920, 1080, 60.0)
    assert request.rikey == bytes(range(16))
    assert request.rikeyid == -2
    assert request.rikeyid_bytes == b"\xff\xff\xff\xfe"
    assert request.surround == Surround(2, 3)
    assert (request.host_audio, request.hdr, request.encrypted_rtsp) == (False, False, True)
    assert "0001020304" not in repr(request)


@pytest.mark.parametrize(
    ("change", "attribute", "value"),
    [
        ({"rikeyid": "4294967294"}, "rikeyid", -2),
        ({"rikeyid": "-2147483648"}, "rikeyid", -(2**31)),
        ({"surroundAudioInfo": "4128774"}, "surround", Surround(6, 0x3F)),
        ({"surroundAudioInfo": "104792072"}, "surround", Surround(8, 0x63F)),
        ({"mode": "1280x720x59.94"}, "mode", ModeHint(1280, 720, 59.94)),
        ({"mode": "1280x720x59940"}, "mode", ModeHint(1280, 720, 59.94)),
        ({"mode": "1280x720x0"}, "mode", ModeHint(1280, 720, 0.0)),
        ({"mode": "big"}, "mode", None),
        ({"hdrMode": "1"}, "hdr", True),
        ({"corever": "0"}, "encrypted_rtsp", False),
        ({"corever": ""}, "encrypted_rtsp", False),
        ({"localAudioPlayMode": "1"}, "host_audio", True),
        ({"gcmap": "5"}, "gamepads", 5),
        ({"remoteControllersBitmap": "3", "gcmap": "5"}, "gamepads", 3),
        ({"gcpersist": "1"}, "persist_gamepads", True),
        ({"continuousAudio": "1"}, "continuous_audio", True),
        ({"surroundParams": "642014523"}, "surround_params", SurroundParams(6, 4, 2, (0, 1, 4, 5, 2, 3))),
        ({}, "surround_params", None),
        ({"scaleFactor": "150"}, "scale", 1.5),
        ({"scaleFactor": "0"}, "scale", 1.0),
        ({"scaleFactor": "100000"}, "scale", 1.0),
        ({}, "scale", 1.0),
    ],
)
def test_what_else_a_launch_may_say(change: dict[str, str], attribute: str, value: object) -> None:
    assert getattr(LaunchRequest.parse(LAUNCH | change, resume=False), attribute) == value


@pytest.mark.conformance(31)
@pytest.mark.parametrize("name", ["rikey", "rikeyid", "localAudioPlayMode", "appid"])
def test_a_launch_without_what_it_needs_is_refused(name: str) -> None:
    for query in ({k: v for k, v in LAUNCH.items() if k != name}, LAUNCH | {name: ""}, LAUNCH | {name: "x"}):
        with pytest.raises(StatusError, match=name) as refused:
            LaunchRequest.parse(query, resume=False)
        assert refused.value.status == 400


@pytest.mark.parametrize(
    "change",
    [
        {"rikey": "00" * 15},
        {"rikey": "00" * 17},
        {"rikeyid": "4294967296"},
        {"rikeyid": "1" * 400},
        {"surroundAudioInfo": "stereo"},
        {"surroundParams": "642014528"},
        {"surroundParams": "624014523"},
        {"surroundParams": "6420"},
        {"surroundParams": "21101"},
        {"surroundParams": "2" * 4000},
    ],
)
def test_a_malformed_launch_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(StatusError) as refused:
        LaunchRequest.parse(LAUNCH | change, resume=False)
    assert refused.value.status == 400


def test_a_resume_needs_only_its_key() -> None:
    request = LaunchRequest.parse({name: LAUNCH[name] for name in ("rikey", "rikeyid")}, resume=True)
    assert (request.app_id, request.mode, request.surround) == (0, None, Surround(2, 3))


@pytest.mark.conformance(33)
def test_nothing_follows_the_port_of_the_rtsp_address() -> None:
    assert rtsp_url("192.168.1.5", 48010, encrypted=True) == "rtspenc://192.168.1.5:48010"
    assert rtsp_url("2001:db8::1", 49010, encrypted=False) == "rtsp://[2001:db8::1]:49010"
