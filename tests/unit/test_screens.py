"""How the pictures of an output are had: a tagged description, and one registry that opens each kind."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from punktfunk.desktop.capture import PipeWireScreen, ScreenSpec, WlrScreen, numbered
from punktfunk.errors import DesktopError
from punktfunk.host.stream.sources import PRODUCERS, HostSource, WorkerSource, open_worker_producer
from punktfunk.media import EncoderConfig, SyntheticSpec, TestCardSpec
from punktfunk.units import Bitrate, Mode

ENCODER = EncoderConfig(mode=Mode(640, 360, 30), bitrate=Bitrate(1_000_000))


def kinds(union: Any) -> set[str]:
    """Return the tags of a discriminated union, nested ones included."""
    if isinstance(union, type) and issubclass(union, BaseModel):
        return set(get_args(union.model_fields["kind"].annotation))
    if get_origin(union) is Literal:
        return set()
    return set().union(*(kinds(part) for part in get_args(union) if not hasattr(part, "discriminator")))


def test_each_kind_that_a_worker_may_be_told_is_opened_by_its_tag_and_no_other() -> None:
    assert kinds(WorkerSource) == set(PRODUCERS)
    assert kinds(ScreenSpec) < kinds(WorkerSource)
    assert kinds(HostSource) - kinds(WorkerSource) == {"desktop"}, "of which a worker gets one screen"


@pytest.mark.parametrize(
    "screen",
    [
        WlrScreen(display="/run/wayland-1", output="HEADLESS-1"),
        PipeWireScreen(node=41, sized=True, offer_hz=120, cursor="metadata"),
        TestCardSpec(tag=7),
    ],
)
def test_a_screen_says_in_json_which_kind_it_is_and_is_read_back_as_that(
    screen: ScreenSpec,
) -> None:
    order = screen.model_dump(mode="json")
    assert order["kind"] in kinds(ScreenSpec)
    assert TypeAdapter(WorkerSource).validate_python(order) == screen


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({"kind": "vnc", "display": "a", "output": "b"}, "union_tag_invalid"),
        ({"display": "a", "output": "b"}, "union_tag_not_found"),
        ({"kind": "wayland-copy", "output": "b"}, "missing"),
        ({"kind": "wayland-copy", "display": "a", "output": "b", "entropy": 0.5}, "extra_forbidden"),
    ],
)
def test_what_is_no_screen_of_its_kind_is_refused(order: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(WorkerSource).validate_python(order)
    assert [error["type"] for error in refused.value.errors()] == [why]


def test_only_a_captured_screen_has_its_pictures_numbered_by_what_they_show() -> None:
    screen = WlrScreen(display="d", output="o")
    assert numbered(screen) == screen.model_copy(update={"read_marker": True})
    assert not screen.read_marker
    assert numbered(PipeWireScreen(node=1)) == PipeWireScreen(node=1, read_marker=True)
    card = TestCardSpec()
    assert numbered(card) is card


def test_who_paces_and_what_a_source_counts_is_asked_of_every_producer() -> None:
    for source in (TestCardSpec(), SyntheticSpec()):
        producer = open_worker_producer(source, ENCODER)
        assert (producer.self_paced, dict(producer.counters)) == (False, {})
        producer.close()


def test_a_screen_of_a_compositor_that_is_not_there_is_refused_and_its_encoder_freed() -> None:
    pytest.importorskip("pywayland")
    with pytest.raises(DesktopError):
        open_worker_producer(WlrScreen(display="/nowhere/wayland-9", output="x"), ENCODER)
