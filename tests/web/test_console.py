"""The web console as a person uses it, against a real host and real client processes (promise P11)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import PATIENCE_S, eventually

pytestmark = [
    pytest.mark.slow,
    # One browser and one host, from the first sign-in to the host's crash, as a person has them.
    pytest.mark.in_order,
]

VIEWS = ("home", "devices", "sessions", "settings", "logs", "account")
PASSWORD = "correct horse battery staple"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def nothing_is_complained_about(console: Any) -> Iterator[None]:
    """No script error, no failed request, no violation of the content security policy in any test."""
    console.complaints.clear()
    yield
    assert console.complaints == []


_TROUBLED = """async () => {
    const { known, takeSessions } = await import("/console/store.js");
    const all = [...known.sessions.values()].filter((session) => session.number !== 99);
    const troubled = { ...all[0], number: 99, notices: ["<b>the desktop</b> gives no pictures"] };
    takeSessions(true ? [...all, troubled] : all);
}"""
"""Adds a session with a notice to the page, or takes it away."""


_REMEMBER = """one => {
    one.said = [one.textContent];
    new MutationObserver(() => one.said.push(one.textContent)).observe(
        one, { childList: true, characterData: true, subtree: true });
}"""


def remember(button: Any) -> None:
    """Have the page keep what a button says from now on: some of it is there for a second or two alone."""
    button.evaluate(_REMEMBER)


def has_said(button: Any, words: str) -> None:
    """Wait until a button has said what matches."""
    eventually(
        lambda: any(re.fullmatch(words, said) for said in button.evaluate("one => one.said ?? []")),
        f"a button to say {words}",
    )


def open_view(console: Any, name: str) -> Any:
    """Go to a view by its link, as a person does; return the page."""
    link = console.page.get_by_role("banner" if name == "account" else "navigation").get_by_role(
        "link", name=name.capitalize()
    )
    link.click()
    return console.page


def read_pin(page: Any, expect: Any) -> str:
    expect(page.locator(".pin")).to_have_text(re.compile(r"^\d{4}$"))
    pin: str = page.locator(".pin").inner_text()
    return pin


def test_the_printed_link_signs_in_once_and_leaves_the_address_bar(
    console: Any, host: Any, browser: Any, expect: Any
) -> None:
    assert "ticket" not in console.page.url
    assert console.page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == [
        "",
        0,
        0,
    ]
    other = browser.new_context()
    page = other.new_page()
    # The console's own ticket: the host may have been started anew since, with a link that nobody has used.
    page.goto(f"{host.url}#{console.ticket}")
    expect(page.get_by_role("alert")).to_contain_text("has been used already")
    expect(page.get_by_text("punktfunk console", exact=True)).to_be_visible()
    assert "ticket" not in page.url
    other.close()


def test_the_first_screen_says_whether_it_can_stream_and_what_to_type_elsewhere(
    console: Any, host: Any, expect: Any
) -> None:
    page = open_view(console, "home")
    ready = page.get_by_role("region").filter(has=page.get_by_role("button", name="Check again"))
    expect(ready).to_have_class(re.compile("is-ok|is-bad"))
    expect(page.get_by_role("region", name="On the other machine")).to_contain_text(
        f"punktfunk pair {host.address} --pin PIN"
    )
    console.keep("home-first-start-light")
    copy = page.get_by_role("button", name="Copy connect command")
    remember(copy)
    copy.click()
    has_said(copy, "Copied")
    assert page.evaluate("navigator.clipboard.readText()") == f"punktfunk connect {host.address}"
    copy = page.get_by_role("button", name="Copy fingerprint")
    remember(copy)
    copy.click()
    has_said(copy, "Copied")
    assert page.evaluate("navigator.clipboard.readText()") == host.fingerprint


def test_pair_by_the_pin_on_the_page_watch_the_session_and_unpair_it(
    console: Any, device: Callable[[str], Any], expect: Any
) -> None:
    laptop = device("laptop")
    page = open_view(console, "devices")
    page.get_by_label("5 min").check()
    page.get_by_role("button", name="Arm pairing").click()
    pin = read_pin(page, expect)
    # However late a busy machine looks: what the page shows lies between what the host says before and after it, but
    # for the ticks that a page without CPU time has missed.
    at_most = laptop.host.pairing_ends_in_s()
    minutes, seconds = re.fullmatch(r"(\d):(\d\d) left", page.get_by_role("timer").inner_text()).groups()  # type: ignore[union-attr]
    at_least = laptop.host.pairing_ends_in_s()
    assert at_least - 1 <= 60 * int(minutes) + int(seconds) <= at_most + 5
    assert 120 < at_most <= 300, "five minutes were chosen; nobody waits for three of them"
    expect(page.locator(".armed code")).to_have_text(f"punktfunk pair {laptop.host.address} --pin {pin}")
    console.keep("devices-armed-light")
    paired = laptop.pair(pin)
    assert paired.returncode == 0, paired.stderr
    paired_devices = page.get_by_role("region", name="Paired devices")
    expect(paired_devices).to_contain_text("laptop")
    expect(page.get_by_role("region", name="Pair a new device")).to_contain_text("“laptop” is paired")

    stream = laptop.stream()
    open_view(console, "sessions")
    session = page.get_by_role("region", name="laptop")
    expect(session).to_contain_text("640×360 at 30 Hz")
    for stage in ("convert", "encode", "seal", "send"):
        figures = session.get_by_role("row", name=re.compile(rf"^{stage} [\d.]+ [\d.]+ [\d.]+"))
        expect(figures).to_be_visible()
    expect(session.get_by_role("definition").first).to_have_text(re.compile(r"^[1-9]"))
    # Two samples make a line.
    expect(session.locator("path.series-fps")).to_have_attribute("d", re.compile("L"))
    session.locator(".timeline").focus()
    page.keyboard.press("ArrowLeft")
    expect(session.locator(".when")).to_have_text(re.compile(r"\d+ s ago"))
    session.get_by_text("Packets, frames and input, counted").click()
    expect(session.get_by_role("row", name=re.compile(r"frames sent \d"))).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        console.keep(f"live-session-{scheme}")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    console.keep("live-session-phone-dark")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    # Another one of the same device, of which the host says nothing else: what it tells is shown, as text.
    page.evaluate(_TROUBLED)
    expect(page.get_by_role("status").get_by_text("<b>the desktop</b> gives no pictures")).to_be_visible()
    console.keep("session-with-a-notice-light")
    page.evaluate(_TROUBLED.replace("true", "false"))
    expect(page.get_by_text("gives no pictures")).to_have_count(0)

    open_view(console, "devices")
    expect(paired_devices.get_by_role("link", name="streaming")).to_be_visible()
    paired_devices.get_by_role("button", name="Unpair laptop…").click()
    question = page.get_by_role("dialog", name="Unpair “laptop”?")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    console.keep("unpair-light")
    page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    assert stream.poll() is None
    paired_devices.get_by_role("button", name="Unpair laptop…").click()
    question.get_by_role("button", name="Unpair", exact=True).click()
    expect(paired_devices).to_contain_text("No device is paired yet")
    output, _ = stream.communicate(timeout=PATIENCE_S)
    assert "does not know this client" in output
    open_view(console, "sessions")
    expect(page.get_by_role("region", name="Ended since this page was opened")).to_contain_text("unpaired")


def test_a_pending_device_is_approved_or_denied_and_its_name_stays_text(
    console: Any, device: Callable[[str], Any], expect: Any
) -> None:
    page = open_view(console, "home")
    hostile, tablet = device(HOSTILE), device("tablet")
    waiting = page.get_by_role("region", name="Awaiting approval")
    expect(waiting).to_have_count(0)
    # Both at once: neither is let in, and both wait.
    requests = [hostile.stream(), tablet.stream()]
    expect(waiting.get_by_text(HOSTILE, exact=True)).to_be_visible()
    expect(waiting.get_by_text("tablet", exact=True)).to_be_visible()
    assert page.locator("img").count() == 0
    for request in requests:
        refused, _ = request.communicate(timeout=PATIENCE_S)
        assert "pair first, or let somebody approve this device" in refused
    console.keep("home-pending-light")
    waiting.get_by_role("button", name=f"Deny {HOSTILE}").click()
    expect(waiting.get_by_text(HOSTILE, exact=True)).to_have_count(0)

    open_view(console, "devices")
    waiting.get_by_role("button", name="Approve tablet…").click()
    question = page.get_by_role("dialog")
    fingerprint = question.locator("code").inner_text().replace(" ", "").replace("\n", "")
    assert re.fullmatch("[0-9a-f]{64}", fingerprint)
    console.keep("approve-light")
    question.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("region", name="Paired devices")).to_contain_text("tablet")

    # Let in, and ended from here: the device stays paired.
    stream = tablet.stream()
    open_view(console, "sessions")
    page.get_by_role("button", name="End the session of tablet…").click()
    page.get_by_role("dialog").get_by_role("button", name="End session").click()
    output, _ = stream.communicate(timeout=PATIENCE_S)
    assert "ended at the host" in output
    open_view(console, "devices")
    expect(page.get_by_role("region", name="Paired devices")).to_contain_text("tablet")


def test_the_keyboard_alone_arms_pairing_and_the_focus_is_always_seen(console: Any, expect: Any) -> None:
    page = open_view(console, "home")
    page.reload()
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()

    def tab_to(wanted: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            name, outlined = page.evaluate(
                """() => {
                  const one = document.activeElement;
                  if (one === document.body) return ['', ''];
                  const shown = one.matches('.segments input') ? one.nextElementSibling : one;
                  const name = one.getAttribute('aria-label') ?? one.textContent;
                  return [name.trim(), getComputedStyle(shown).outlineStyle];
                }"""
            )
            if name == "":
                continue  # past the last element comes the browser's own frame
            assert outlined == "solid", f"no outline on {name!r}"
            if name == wanted:
                return
        pytest.fail(f"{wanted!r} cannot be reached by Tab")

    tab_to("Skip to content")
    tab_to("Devices")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Devices", level=1)).to_be_visible()
    expect(page.locator("main")).to_be_focused()
    tab_to("Arm pairing")
    page.keyboard.press("Enter")
    pin = read_pin(page, expect)
    expect(page.locator("#announcer")).to_contain_text(f"PIN {' '.join(pin)}, valid for")
    cancel = page.get_by_role("button", name="Cancel")
    expect(cancel).to_be_focused()
    page.evaluate(
        """async () => {
          const { known, takePairing } = await import(new URL("store.js", document.querySelector("script").src));
          const armed = known.pairing;
          takePairing({ ...armed, armed: false });  // a state that the host had sent before it was armed
          takePairing(armed);
        }"""
    )
    expect(cancel).to_be_focused()
    focused = page.evaluate(
        """async () => {
          const { known, takePairing } = await import(new URL("store.js", document.querySelector("script").src));
          const [armed, now] = [known.pairing, performance.now.bind(performance)];
          performance.now = () => now() + 10_000;  // nobody has clicked for so long
          takePairing({ ...armed, armed: false });  // another person's doing
          const title = document.activeElement.textContent;
          takePairing(armed);
          performance.now = now;
          return title;
        }"""
    )
    assert focused == "Pair a new device", "no button that does the opposite"
    tab_to("Cancel")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Arm pairing")).to_be_focused()
    expect(page.locator(".pin")).to_be_hidden()


def test_an_answer_older_than_the_armed_window_does_not_take_its_pin_away(console: Any, expect: Any) -> None:
    """One of the answers that the view asks for may be slow, and somebody quicker arms pairing meanwhile."""
    page = open_view(console, "home")
    slow: list[tuple[Any, Any]] = []
    page.route("**/api/v1/native/pending", lambda route: slow.append((route, route.fetch())))
    with page.expect_request("**/api/v1/native/pending"):
        open_view(console, "devices")
    page.get_by_role("button", name="Arm pairing").click()
    pin = read_pin(page, expect)
    device = {"fingerprint": "ab" * 32, "name": "late", "source": "::1", "age_secs": 1, "expires_in_secs": 60}
    for route, response in slow:
        route.fulfill(response=response, json=[*response.json(), device])
    page.unroute("**/api/v1/native/pending")
    # It is taken in after the window, with the same answers.
    expect(
        page.get_by_role("region", name="Awaiting approval").get_by_text("late", exact=True)
    ).to_be_visible()
    expect(page.locator(".pin")).to_be_visible()
    assert page.locator(".pin").inner_text() == pin
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".pin")).to_be_hidden()


def test_a_changed_setting_survives_a_reload_and_one_fixed_by_a_flag_says_so(
    console: Any, host: Any, expect: Any
) -> None:
    page = open_view(console, "settings")
    percent = page.get_by_label("FEC percent", exact=True)
    expect(percent).to_have_value("20")
    percent.fill("400")
    page.get_by_role("button", name="Save").click()
    expect(percent).to_have_attribute("aria-invalid", "true")
    percent.fill("35")
    expect(page.get_by_text("1 change, not saved")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.reload()
    expect(percent).to_have_value("35")
    stored = json.loads((host.folder / "state" / "settings.json").read_text())
    assert stored["settings"]["fec_percent"] == 35
    expect(page.get_by_label("Mode", exact=True)).to_be_disabled()
    expect(page.locator(".setting.fixed").filter(has_text="Mode")).to_contain_text("fixed by --mode")
    page.get_by_role("button", name="Use the default of FEC percent").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    expect(percent).to_have_value("20")


def test_the_log_is_filtered_held_and_downloaded_without_names_and_addresses(
    console: Any, host: Any, expect: Any
) -> None:
    page = open_view(console, "logs")
    lines = page.get_by_role("log")
    expect(lines).to_contain_text("127.0.0.1")
    page.get_by_label("Filter").fill("no line has these words")
    expect(page.get_by_text("No line fits the filter.")).to_be_visible()
    page.get_by_label("Filter").fill("")
    page.get_by_role("button", name="Pause").click()
    host.change_settings(max_sessions=3)
    expect(page.get_by_text(re.compile("held; [1-9]"))).to_be_visible()
    held = lines.get_by_role("listitem").count()
    page.get_by_role("button", name="Go on").click()
    expect(lines.get_by_role("listitem").nth(held)).to_be_visible()
    texts = []
    for name in ("Download", "Download without names and addresses"):
        with page.expect_download() as download:
            page.get_by_role("link", name=name, exact=True).click()
        texts.append(Path(download.value.path()).read_text())
    whole, redacted = texts
    assert "127.0.0.1" in whole
    assert "127.0.0.1" not in redacted
    assert len(redacted.splitlines()) > 3


def test_no_view_scrolls_sideways_on_a_phone_and_both_schemes_are_drawn(console: Any, expect: Any) -> None:
    page = console.page
    for name in VIEWS:
        page.set_viewport_size({"width": 1280, "height": 900})
        open_view(console, name)
        expect(page.locator("main")).not_to_be_empty()
        page.emulate_media(color_scheme="light")
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        console.keep(f"{name}-light")
        page.set_viewport_size({"width": 360, "height": 740})
        page.emulate_media(color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
        console.keep(f"{name}-phone-dark")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")


def test_another_page_cannot_frame_the_console(console: Any, host: Any) -> None:
    page = console.context.new_page()
    page.set_content(f'<iframe src="{host.url}" title="framed"></iframe>')
    framed = page.frames[1]
    framed.wait_for_load_state()
    assert framed.locator("#app").count() == 0
    assert framed.url.startswith("chrome-error:")
    page.close()


def test_a_password_is_set_signed_out_mistyped_cooled_down_and_right(console: Any, expect: Any) -> None:
    page = open_view(console, "account")
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password, once more").fill("something else")
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("differ")
    page.get_by_label("New password, once more").fill(PASSWORD)
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_text("The password is set.")).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    console.keep("login-light")
    password = page.get_by_label("Password", exact=True)
    problem = page.get_by_role("alert")
    button = page.locator("button[type=submit].primary")
    remember(button)
    password.fill("not it")
    page.get_by_role("button", name="Sign in").click()
    expect(problem).to_have_text("That is not the password.")
    deadline = time.monotonic() + 30
    while "Too many attempts" not in problem.inner_text():
        # Each wrong try makes the next wait longer, so however slow this machine is, one of them comes too early.
        assert time.monotonic() < deadline
        page.get_by_role("button", name="Sign in").click()
        expect(problem).to_be_visible()
    has_said(button, r"Wait \d+ s")
    expect(button).to_have_text("Sign in")
    password.fill(PASSWORD)
    button.click()
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()
    console.allow("status of (401|429)")


def test_a_session_that_the_host_forgot_leads_to_the_sign_in_page_and_a_fresh_link_back(
    console: Any, host: Any, expect: Any
) -> None:
    page = open_view(console, "settings")
    expect(page.get_by_label("FEC percent", exact=True)).to_be_visible()
    console.context.clear_cookies()
    open_view(console, "logs")
    expect(page.get_by_text("Your session has ended.")).to_be_visible()
    page.goto(host.fresh_link())
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()
    assert "ticket" not in page.url
    console.allow("status of 401")


def test_a_killed_host_is_said_to_be_gone_and_the_page_finds_it_when_it_is_back(
    console: Any, host: Any, expect: Any
) -> None:
    page = open_view(console, "devices")
    expect(page.get_by_role("region", name="Paired devices")).to_contain_text("tablet")
    host.kill()
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("The host does not answer")
    expect(page.get_by_role("region", name="Paired devices")).to_contain_text("tablet")
    console.keep("host-gone-light")
    host.start()
    expect(page.get_by_text("The host was restarted")).to_be_visible()
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Devices", level=1)).to_be_visible()
    expect(page.get_by_role("region", name="Paired devices")).to_contain_text("tablet")
    console.allow("net::ERR_|status of 401")
