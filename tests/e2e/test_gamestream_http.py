"""A GameStream host by HTTP and HTTPS, as its clients and its check-list see it (gamestream section 13)."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from punktfunk.app import App
from punktfunk.clock import monotonic_ns
from punktfunk.host.gamestream.pairing import WIRE
from punktfunk.trust.store import PairedClient
from tests.support.gamestream import exchange
from tests.support.gamestream_host import (
    HOST_IDENTITY,
    UNIQUE_ID,
    Answer,
    GameStreamHost,
    ask,
    beside_a_host,
    pair,
    phases,
    tls_of,
    type_pin,
)
from tests.support.moonlight import ClientKeys, PairingClient, client_keys
from tests.support.waiting import PATIENCE_S, eventually

PHONE, TABLET = client_keys(), client_keys()
COMMON = {"uniqueid": UNIQUE_ID, "uuid": "1", "devicename": "roth", "updateState": "1"}
LAUNCH = {
    "appid": "1",
    "mode": "1280x720x60",
    "rikey": "00" * 16,
    "rikeyid": "-5",
    "localAudioPlayMode": "0",
    "surroundAudioInfo": "196610",
}


def known(host: GameStreamHost, *clients: ClientKeys) -> None:
    """Have clients paired without the phases."""
    for keys in clients:
        host.pairing.trust.add(PairedClient(keys.fingerprint, "Moonlight client", WIRE, 0, keys.pem.decode()))


@pytest.mark.conformance(12)
@pytest.mark.conformance(16)
def test_a_client_pairs_and_is_let_in_at_once(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        assert ask(host.ports, "/applist", keys=PHONE).status == 401
        assert pair(host, PHONE)
        assert ask(host.ports, "/pair", keys=PHONE, phrase="pairchallenge", **COMMON).text("paired") == "1"
        assert ask(host.ports, "/applist", keys=PHONE).status == 200
        assert [c.fingerprint for c in host.pairing.trust.clients(WIRE)] == [PHONE.fingerprint]

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(13)
def test_a_wrong_pin_pairs_nobody(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        assert not pair(host, PHONE, typed="1235")
        assert host.pairing.trust.clients() == ()
        again = ask(host.ports, "/pair", **COMMON, **PairingClient(PHONE, "1").begin())
        assert (again.status, again.text("paired")) == (503, "0")

    beside_a_host(tmp_path, use)


def test_a_host_that_cannot_store_a_client_does_not_pair_it_and_keeps_its_paths_to_itself(
    tmp_path: Path,
) -> None:
    def use(host: GameStreamHost) -> None:
        (tmp_path / "trust.json").mkdir()  # as good as a full disk
        answer = phases(host, PHONE)
        assert (answer.status, answer.text("paired")) == (500, "0")
        assert str(tmp_path).encode() not in answer.body
        assert ask(host.ports, "/applist", keys=PHONE).status == 401

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(22)
def test_two_clients_of_one_subject_work_in_either_order(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        for keys in (PHONE, TABLET):
            assert pair(host, keys)
        for keys in (TABLET, PHONE, PHONE, TABLET):
            assert ask(host.ports, "/serverinfo", keys=keys).text("PairStatus") == "1"

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(21)
def test_expired_and_future_certificates_are_let_in(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        for begins, ends in ((-4000, -1), (1, 4000)):
            keys = client_keys(begins=timedelta(days=begins), ends=timedelta(days=ends))
            assert pair(host, keys)
            assert ask(host.ports, "/applist", keys=keys).status == 200

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(23)
def test_a_stranger_completes_its_handshake_and_is_told(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        known(host, TABLET)
        for keys in (None, PHONE):
            for path in ("/serverinfo", "/applist", "/launch", "/nothing", "/pair"):
                answer = ask(host.ports, path, secure=True, keys=keys)
                assert (answer.http_status, answer.status) == (200, 401)
                assert answer.root.attrib["query"] == path
                assert answer.root.attrib["status_message"]

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(27)
def test_a_client_that_is_unpaired_is_a_stranger_at_once(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        known(host, PHONE)
        assert ask(host.ports, "/serverinfo", keys=PHONE).text("PairStatus") == "1"
        host.loop.call_soon_threadsafe(host.pairing.trust.remove, PHONE.fingerprint)
        eventually(lambda: ask(host.ports, "/applist", keys=PHONE).status == 401, "a 401")

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(3)
def test_every_reply_is_a_document_with_a_status(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        known(host, PHONE)
        for path, keys, status in (
            ("/serverinfo", None, 200),
            ("/applist", None, 401),
            ("/launch", None, 401),
            ("/pair", None, 404),
            ("/nothing", None, 404),
            ("/nothing", PHONE, 404),
            ("/unpair", None, 400),
            ("/launch", PHONE, 400),
            ("//..//../etc/passwd%00<x>", None, 404),
        ):
            answer = ask(host.ports, path, keys=keys)
            assert (answer.http_status, answer.status) == (200, status), path
            assert answer.headers["content-type"] == "application/xml"
            assert int(answer.headers["content-length"]) == len(answer.body)
        assert ask(host.ports, "/serverinfo", method="POST").status == 405
        for raw in (
            b"\x16\x03\x01\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET /?" + b"a=1&" * 99 + b" HTTP/1.0\r\n\r\n",
        ):
            head, _, body = exchange(("127.0.0.1", host.ports.http), raw).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), raw
            assert b'status_code="400"' in body

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(4)
def test_serverinfo_needs_no_unique_id(tmp_path: Path) -> None:
    answer = beside_a_host(tmp_path, lambda host: ask(host.ports, "/serverinfo"))
    assert answer.status == 200
    assert answer.text("PairStatus") == "0"


@pytest.mark.conformance(5)
@pytest.mark.conformance(7)
def test_serverinfo_says_what_a_client_may_know(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> tuple[Answer, Answer]:
        known(host, PHONE)
        return ask(host.ports, "/serverinfo"), ask(host.ports, "/serverinfo", keys=PHONE)

    stranger, client = beside_a_host(tmp_path, use)
    for answer in (stranger, client):
        for name in (
            "hostname",
            "appversion",
            "GfeVersion",
            "uniqueid",
            "state",
            "currentgame",
            "HttpsPort",
            "LocalIP",
        ):
            assert answer.text(name), name
        assert int(answer.text("ServerCodecModeSupport") or 0) & 1
        assert answer.text("LocalIP") == "127.0.0.1"
    assert (stranger.text("PairStatus"), client.text("PairStatus")) == ("0", "1")
    assert stranger.text("mac") == "00:00:00:00:00:00"
    assert re.fullmatch("[0-9a-f]{2}(:[0-9a-f]{2}){5}", client.text("mac") or "")


@pytest.mark.conformance(6)
def test_the_number_of_a_host_survives_its_end(tmp_path: Path) -> None:
    first, second = (
        beside_a_host(tmp_path, lambda host: ask(host.ports, "/serverinfo").text("uniqueid"))
        for _ in range(2)
    )
    assert first == second


@pytest.mark.conformance(8)
def test_a_client_by_ipv6_is_told_no_ipv6_address(tmp_path: Path) -> None:
    answer = beside_a_host(tmp_path, lambda host: ask(host.ports, "/serverinfo", host="::1"), bind="*")
    assert answer.text("LocalIP") == "127.0.0.1"
    assert answer.root.find("ExternalIP") is None


@pytest.mark.conformance(9)
@pytest.mark.conformance(35)
def test_busy_and_the_app_that_runs_change_together(tmp_path: Path) -> None:
    def state(host: GameStreamHost) -> tuple[str | None, str | None]:
        answer = ask(host.ports, "/serverinfo", keys=PHONE)
        return answer.text("state"), answer.text("currentgame")

    def use(host: GameStreamHost) -> None:
        known(host, PHONE)
        free, busy = ("SUNSHINE_SERVER_FREE", "0"), ("SUNSHINE_SERVER_BUSY", "7")
        assert state(host) == free
        assert ask(host.ports, "/launch", keys=PHONE, **LAUNCH | {"appid": "7"}).text("gamesession") == "1"
        assert state(host) == busy
        host.owner.gate = asyncio.Event()
        with ThreadPoolExecutor(1) as other:
            ending = other.submit(ask, host.ports, "/cancel", keys=PHONE)
            eventually(lambda: host.server.counters["http_requests"] == 4, "the request")
            assert state(host) == busy
            assert not ending.done()
            host.loop.call_soon_threadsafe(host.owner.gate.set)
            assert ending.result().text("cancel") == "1"
        assert state(host) == free
        assert ask(host.ports, "/cancel", keys=PHONE).text("cancel") == "1"

    beside_a_host(tmp_path, use)


@pytest.mark.measures
@pytest.mark.conformance(10)
def test_serverinfo_answers_while_a_pairing_and_a_launch_wait(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        known(host, TABLET)
        host.owner.gate = asyncio.Event()
        with ThreadPoolExecutor(2) as others:
            waits = others.submit(ask, host.ports, "/pair", **COMMON, **PairingClient(PHONE, "1").begin())
            launches = others.submit(ask, host.ports, "/launch", keys=TABLET, **LAUNCH)
            eventually(lambda: host.server.counters["http_requests"] == 2, "both requests")
            began = time.monotonic()
            for keys in (None, TABLET, None, TABLET, None):
                assert ask(host.ports, "/serverinfo", keys=keys).status == 200
            took_s = time.monotonic() - began
            assert not waits.done()
            assert not launches.done()
            host.loop.call_soon_threadsafe(host.owner.gate.set)
            type_pin(host, "1")
        # Five of them within what one may take, and ten times that for a machine that is busy.
        assert took_s < 2.0

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(11)
def test_a_connection_closes_behind_its_reply_and_speaks_no_http2(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        known(host, PHONE)
        raw = exchange(("127.0.0.1", host.ports.http), b"GET /serverinfo HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        assert raw.count(b"HTTP/1.1 200") == 1
        assert b"Connection: close" in raw
        context = tls_of(PHONE)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(("127.0.0.1", host.ports.https), PATIENCE_S) as link,
            context.wrap_socket(link) as tls,
        ):
            assert tls.selected_alpn_protocol() is None
            tls.sendall(b"GET /serverinfo HTTP/1.1\r\nHost: a\r\n\r\n")
            while tls.recv(4096):
                pass  # until the host closes

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(18)
def test_a_client_that_begins_again_replaces_its_pairing(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        with ThreadPoolExecutor(2) as others:
            first = others.submit(ask, host.ports, "/pair", **COMMON, **PairingClient(PHONE, "1").begin())
            eventually(lambda: host.pairing.counters["begun"] == 1, "the first pairing")
            second = others.submit(ask, host.ports, "/pair", **COMMON, **PairingClient(PHONE, "2").begin())
            replaced = first.result()
            assert (replaced.status, replaced.text("paired")) == (400, "0")
            assert type_pin(host, "2") == "taken"
            assert second.result().text("plaincert")

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(19)
@pytest.mark.parametrize(
    "fields",
    [
        {"clientchallenge": "00" * 16},
        {"serverchallengeresp": "00" * 32},
        {"clientpairingsecret": "00" * 272},
        {"phrase": "getservercert", "salt": "00" * 15, "clientcert": PHONE.pem.hex()},
        {"phrase": "getservercert", "salt": "00" * 16, "clientcert": PHONE.pem.hex()[:-1]},
        {"phrase": "getservercert", "salt": "00" * 16, "clientcert": b"nothing".hex()},
    ],
)
def test_a_phase_out_of_order_or_malformed_is_refused(tmp_path: Path, fields: dict[str, str]) -> None:
    answer = beside_a_host(tmp_path, lambda host: ask(host.ports, "/pair", **COMMON, **fields))
    assert (answer.http_status, answer.status, answer.text("paired")) == (200, 400, "0")


@pytest.mark.conformance(20)
def test_a_client_that_hangs_up_takes_its_pairing_with_it(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", host.ports.http, timeout=PATIENCE_S)
            connection.request("GET", f"/pair?{urlencode(COMMON | PairingClient(PHONE, '1').begin())}")
            eventually(lambda: host.pairing.waiting(monotonic_ns()), "a device that waits")
            connection.close()
            eventually(lambda: not host.pairing.waiting(monotonic_ns()), "the device to go")
            assert len(host.pairing) == 0
        eventually(lambda: not host.server.connections.all, "the connections to end")

    beside_a_host(tmp_path, use)


def test_a_second_device_of_a_certificate_that_waits_is_told_that_another_pairs(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        with ThreadPoolExecutor(1) as other:
            first = other.submit(ask, host.ports, "/pair", **COMMON, **PairingClient(PHONE, "1").begin())
            eventually(lambda: host.pairing.waiting(monotonic_ns()), "a device that waits")
            second = ask(
                host.ports, "/pair", **COMMON | {"uniqueid": "other"}, **PairingClient(PHONE, "1").begin()
            )
            assert (second.status, second.text("paired"), second.text("plaincert")) == (200, "1", None)
            type_pin(host, "1")
            assert first.result().text("plaincert")

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(26)
def test_unpair_removes_nobody(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        assert pair(host, PHONE)
        assert ask(host.ports, "/unpair", **COMMON).status == 200
        assert ask(host.ports, "/applist", keys=PHONE).status == 200

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(24)
def test_tls_shows_the_one_certificate_of_the_pairing(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> str:
        asked = ["openssl", "s_client", "-connect", f"127.0.0.1:{host.ports.https}", "-showcerts"]
        shown = subprocess.run(
            asked, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S
        )
        return shown.stdout

    shown = beside_a_host(tmp_path, use)
    found = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", shown, re.DOTALL)
    chain = shown.partition("Server certificate")[0]
    assert chain.count("BEGIN CERTIFICATE") <= 1
    assert {f"{pem}\n".encode() for pem in found} == {HOST_IDENTITY.certificate.public_bytes(Encoding.PEM)}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_resumed(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """One that was would show no certificate."""

    def use(host: GameStreamHost) -> None:
        known(host, PHONE)
        tls = tls_of(PHONE)
        tls.minimum_version = tls.maximum_version = version
        session = None
        for _ in range(2):
            link = socket.create_connection(("127.0.0.1", host.ports.https), PATIENCE_S)
            with link, tls.wrap_socket(link, session=session) as connection:
                connection.sendall(b"GET /applist HTTP/1.1\r\nHost: a\r\n\r\n")
                assert b'status_code="200"' in b"".join(iter(lambda c=connection: c.recv(4096), b""))
                assert not connection.session_reused
                session = connection.session

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(25)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_work(tmp_path: Path, version: ssl.TLSVersion) -> None:
    def use(host: GameStreamHost) -> None:
        known(host, PHONE)
        for keys, status in ((PHONE, 200), (None, 401)):
            tls = tls_of(keys)
            tls.minimum_version = tls.maximum_version = version
            assert ask(host.ports, "/applist", tls=tls).status == status

    beside_a_host(tmp_path, use)


@pytest.mark.conformance(28)
def test_the_apps_are_listed_without_white_space(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> bytes:
        known(host, PHONE)
        return ask(host.ports, "/applist", keys=PHONE).body

    text = beside_a_host(tmp_path, use).decode().partition("\n")[2]
    assert re.search(r">\s+<", text) is None
    assert re.findall("<AppTitle>(.*?)</AppTitle>.*?<ID>([0-9]+)</ID>", text) == [
        ("Desktop", "1"),
        ("Tom &amp; Jerry", "7"),
    ]


@pytest.mark.conformance(29)
@pytest.mark.parametrize("title", ["Tom & Jerry", "W" * 64, "日本語", "a"])
def test_an_app_has_a_picture_that_is_no_placeholder(tmp_path: Path, title: str) -> None:
    from PIL import Image

    def use(host: GameStreamHost) -> Answer:
        known(host, PHONE)
        host.owner.catalogue[1] = App(7, title)
        return ask(host.ports, "/appasset", keys=PHONE, appid="7", AssetType="2", AssetIdx="0")

    answer = beside_a_host(tmp_path, use)
    assert answer.headers["content-type"] == "image/png"
    with Image.open(BytesIO(answer.body)) as image:
        image.load()
        assert image.size == (600, 800)
        assert len(image.getcolors(1 << 20) or ()) > 2


@pytest.mark.conformance(29)
@pytest.mark.parametrize("app", ["9", "", "-1", "../../etc/passwd", "07"])
def test_an_app_that_there_is_not_has_no_picture(tmp_path: Path, app: str) -> None:
    def use(host: GameStreamHost) -> Answer:
        known(host, PHONE)
        return ask(host.ports, "/appasset", keys=PHONE, appid=app)

    answer = beside_a_host(tmp_path, use)
    assert (answer.http_status, answer.status) == (404, 404)


@pytest.mark.conformance(30)
@pytest.mark.conformance(31)
@pytest.mark.conformance(32)
@pytest.mark.conformance(33)
def test_a_launch_goes_to_the_owner_and_a_refusal_to_the_client(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        known(host, PHONE)
        answer = ask(host.ports, "/resume", keys=PHONE, **LAUNCH)
        assert (answer.status, answer.text("resume")) == (503, "0")
        for name in ("rikey", "rikeyid", "localAudioPlayMode", "appid"):
            answer = ask(host.ports, "/launch", keys=PHONE, **{k: v for k, v in LAUNCH.items() if k != name})
            assert (answer.status, answer.text("gamesession")) == (400, "0")
            assert name in answer.root.attrib["status_message"]
        answer = ask(host.ports, "/launch", keys=PHONE, **LAUNCH, corever="1")
        assert (answer.status, answer.text("gamesession")) == (200, "1")
        assert answer.text("sessionUrl0") == f"rtspenc://127.0.0.1:{host.ports.rtsp}"
        answer = ask(host.ports, "/launch", keys=PHONE, **LAUNCH)
        assert (answer.status, answer.text("gamesession")) == (400, "0")
        answer = ask(host.ports, "/resume", keys=PHONE, host="::1", **LAUNCH)
        assert (answer.status, answer.text("resume")) == (200, "1")
        assert answer.text("sessionUrl0") == f"rtsp://[::1]:{host.ports.rtsp}"
        first, second = host.owner.launched
        assert first[0] == PHONE.fingerprint
        assert first[1].rikeyid == -5
        assert (first[2:], second[2:]) == (("127.0.0.1", "127.0.0.1"), ("::1", "::1"))

    beside_a_host(tmp_path, use, bind="*")


def test_a_launch_is_not_stopped_half_way_when_its_client_goes(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        known(host, PHONE)
        host.owner.gate = asyncio.Event()
        connection = http.client.HTTPSConnection(
            "127.0.0.1", host.ports.https, timeout=PATIENCE_S, context=tls_of(PHONE)
        )
        connection.request("GET", f"/launch?{urlencode(LAUNCH)}")
        eventually(lambda: host.server.counters["http_requests"] == 1, "the request")
        connection.close()
        eventually(lambda: not host.server.connections.all, "the connection to end")
        host.loop.call_soon_threadsafe(host.owner.gate.set)
        eventually(lambda: host.owner.launched, "the launch")

    beside_a_host(tmp_path, use)


@pytest.mark.parametrize("what", ["plain", "tls"])
def test_a_probe_without_data_is_closed_quietly(tmp_path: Path, what: str) -> None:
    def use(host: GameStreamHost) -> None:
        port = host.ports.http if what == "plain" else host.ports.https
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S):
            pass
        eventually(lambda: not host.server.connections.all, "the connection to end")
        assert not +host.server.counters

    beside_a_host(tmp_path, use)


SLOW: list[tuple[str, Callable[[socket.socket], None]]] = [
    ("http", lambda link: None),
    ("http", lambda link: link.sendall(b"GET /serverinfo HTTP/1.1\r\nA: ")),
    ("https", lambda link: None),
    ("https", lambda link: link.sendall(b"\x16\x03\x01\x02\x00")),
]


@pytest.mark.parametrize(("port", "begin"), SLOW)
def test_a_slow_request_is_cut_off(tmp_path: Path, port: str, begin: Callable[[socket.socket], None]) -> None:
    def use(host: GameStreamHost) -> None:
        host.server.connections.request_limit_s = 0.05
        with (
            socket.create_connection(("127.0.0.1", getattr(host.ports, port)), PATIENCE_S) as link,
            contextlib.suppress(ConnectionResetError, BrokenPipeError),
        ):
            begin(link)
            assert link.recv(1) == b""
        assert host.server.counters["http_late"] == 1

    beside_a_host(tmp_path, use)


def test_an_endless_request_and_an_endless_body_are_cut_off(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        raw = exchange(
            ("127.0.0.1", host.ports.http), b"GET /" + b"a" * 30_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        assert b'status_code="400"' in raw
        with socket.create_connection(("127.0.0.1", host.ports.http), PATIENCE_S) as link:
            link.sendall(b"GET /serverinfo HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(10_000):
                    link.sendall(bytes(65_536))
                pytest.fail("all of an endless body was taken")
        eventually(lambda: not host.server.connections.all, "the connection to end")

    beside_a_host(tmp_path, use)


def test_what_is_no_tls_ends_a_connection(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        raw = exchange(("127.0.0.1", host.ports.https), b"GET /serverinfo HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"status_code" not in raw
        assert host.server.counters["http_no_tls"] == 1

    beside_a_host(tmp_path, use)


def test_a_reader_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    def use(host: GameStreamHost) -> None:
        host.server.connections.reply_limit_s = 0.05
        with socket.create_connection(("127.0.0.1", host.ports.http), PATIENCE_S) as link:
            link.sendall(b"GET /serverinfo HTTP/1.1\r\nHost: a\r\n\r\n")
            eventually(lambda: host.server.counters["http_late"] == 1, "the connection to be cut")

    beside_a_host(tmp_path, use)
