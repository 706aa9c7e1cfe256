"""The pointer of a compositor that copies its output: told beside its pictures or painted into them, never both."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pywayland", reason="pip install 'punktfunk[desktop]'")
from punktfunk.clock import monotonic_ns
from punktfunk.cursor import CursorShape, CursorUpdate
from punktfunk.desktop.capture import WlrScreen, frames, open_capture
from punktfunk.desktop.capture.copies import CopyCapture
from punktfunk.desktop.wayland import connect
from punktfunk.desktop.wayland.capture_session import tells_cursor
from punktfunk.errors import MediaError
from punktfunk.units import Mode
from tests.support.pointing_compositor import PointingCompositor
from tests.support.waiting import eventually

WIDTH, HEIGHT = 320, 180
MODE = Mode(WIDTH, HEIGHT, 60)
WHITE, BLACK = 235, 16
KEEPALIVE_MS = 5
HOT_SPOTS = ((3, 1), (0, 1), (0, 0), (5, 0), (5, 7), (0, 7))
"""Each differs from the one before as wlroots 0.20 tells it, and as it does not."""


@pytest.fixture(autouse=True)
def lively(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a picture that stands still given as often as one that does not: these tests wait for it."""
    monkeypatch.setattr(frames, "_STILL_NS", 0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a picture that stands still given again after so long that nobody waits for it who need not."""
    monkeypatch.setattr(frames, "_LIVELY_REPEATS", 0)
    monkeypatch.setattr(frames, "_STILL_NS", 60_000_000_000)


@pytest.fixture
def compositor(tmp_path: Path) -> Iterator[PointingCompositor]:
    served = PointingCompositor(tmp_path / "wayland", WIDTH, HEIGHT)
    yield served
    served.close()


class Stream:
    """A capture and what the client that draws the pointer has been told."""

    def __init__(self, folder: Path, mode: Mode = MODE) -> None:
        screen = WlrScreen(
            display=str(folder / "wayland"), output="OUT-1", keepalive_ms=KEEPALIVE_MS, cursor="metadata"
        )
        capture = open_capture(screen, mode)
        assert isinstance(capture, CopyCapture)
        self.capture = capture
        self.told: list[CursorUpdate] = []

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.capture.close()

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Go on capturing until it holds."""
        eventually(lambda: (self.capture.capture(), holds())[1], what)

    @property
    def drawn(self) -> CursorUpdate:
        """What the client draws: the last place, and the last shape."""
        shape = next((each.shape for each in reversed(self.told) if each.shape is not None), None)
        last = self.told[-1]
        return CursorUpdate(last.visible, last.x, last.y, shape)

    def whites(self) -> int:
        """Return how many pixels of the next frame are as white as the pointer."""
        return int((self.capture.capture().luma == WHITE).sum())


def white(side: int) -> NDArray[np.uint8]:
    return np.full((side, side, 4), 255, np.uint8)


def test_every_shape_and_place_of_a_script_is_told_and_no_frame_is_made_for_them(
    compositor: PointingCompositor, tmp_path: Path, rng: random.Random
) -> None:
    with Stream(tmp_path) as stream:
        stream.capture.capture()
        stream.capture.separate_cursor(stream.told.append)
        for step in range(4 * len(HOT_SPOTS)):
            if step % 4 == 0:
                width, height = rng.choice(((24, 16), (16, 24), (40, 40)))
                hot_x, hot_y = HOT_SPOTS[step // 4]
                image = np.zeros((height, width, 4), np.uint8)
                image[..., :] = (step, 2 * step, 3 * step, 255)
                compositor.shape(image, hot_x, hot_y)
                rgba = bytes((3 * step, 2 * step, step, 255)) * width * height
            x, y = rng.randrange(WIDTH), rng.randrange(HEIGHT)
            compositor.point(x, y)
            wanted = CursorUpdate(True, x, y, CursorShape(width, height, hot_x, hot_y, rgba))
            stream.until(lambda: stream.drawn == wanted, f"the pointer: {wanted}")  # noqa: B023
            if step % 5 == 4:
                compositor.hide()
                stream.until(lambda: not stream.told[-1].visible, "no pointer")
        shapes = {each.shape for each in stream.told if each.shape is not None}
        assert len(shapes) == len(HOT_SPOTS), "each with its own hot spot from the first on"
        assert stream.capture.counters["captured"] == 1
        assert stream.capture.counters["cursor_told"] == len(stream.told)
        assert not compositor.paints_pointer


def test_an_image_that_comes_after_the_place_is_asked_for_at_once(
    compositor: PointingCompositor, tmp_path: Path
) -> None:
    with Stream(tmp_path) as stream:
        stream.capture.separate_cursor(stream.told.append)
        compositor.point(7, 8)
        stream.capture.capture()
        compositor.shape(white(8), 0, 0)
        stream.until(lambda: stream.told[-1].visible, "it")
        assert (stream.drawn.x, stream.drawn.y) == (7, 8)


def test_an_image_that_comes_while_the_hot_spot_of_another_is_asked_for_does_not_wait_for_a_picture(
    compositor: PointingCompositor, tmp_path: Path, patient: None
) -> None:
    with Stream(tmp_path) as stream:
        stream.capture.capture()
        first, second = white(8), white(8) // 2

        def told(update: CursorUpdate) -> None:
            stream.told.append(update)
            if update.shape is not None and update.shape.rgba[-1] == second[0, 0, 3]:
                compositor.draw(0, 0, 8, 8, 50)

        stream.capture.separate_cursor(told)
        compositor.next_image = second
        compositor.shape(first, 0, 0)
        compositor.point(7, 8)
        stream.capture.capture()
        shapes = [each.shape.rgba[-1] for each in stream.told if each.shape is not None]
        assert shapes == [255, 127]
        assert stream.capture.counters["repeated"] == 0


def test_places_are_those_of_a_stream_that_is_scaled(compositor: PointingCompositor, tmp_path: Path) -> None:
    with Stream(tmp_path, Mode(WIDTH // 2, HEIGHT // 2, 60)) as stream:
        stream.capture.separate_cursor(stream.told.append)
        compositor.shape(white(8), 4, 2)
        compositor.point(100, 60)
        wanted = CursorUpdate(True, 50, 30, CursorShape(4, 4, 2, 1, b"\xff" * 4 * 4 * 4))
        stream.until(lambda: stream.told != [] and stream.drawn == wanted, "it")


def test_it_is_followed_while_every_picture_is_another(
    compositor: PointingCompositor, tmp_path: Path
) -> None:
    compositor.shape(white(8), 0, 0)
    with Stream(tmp_path) as stream:
        stream.capture.separate_cursor(stream.told.append)
        for number in range(20):
            compositor.draw(0, 0, WIDTH, HEIGHT, number)
            compositor.point(number, 2 * number)
            stream.capture.capture()
        stream.until(lambda: (stream.told[-1].x, stream.told[-1].y) == (19, 38), "the last place")
        assert len({(each.x, each.y) for each in stream.told}) > 10
        assert stream.whites() == 0


def test_one_that_the_compositor_has_in_its_pictures_is_told_as_not_to_be_seen(
    compositor: PointingCompositor, tmp_path: Path
) -> None:
    with Stream(tmp_path) as stream:
        stream.capture.separate_cursor(stream.told.append)
        assert stream.told == [CursorUpdate(visible=False)], "until there is one, a client draws none"
        compositor.shape(white(8), 0, 0)
        compositor.point(9, 9)
        stream.until(lambda: stream.told[-1].visible, "it")
        compositor.hide()
        stream.until(lambda: not stream.told[-1].visible, "it to be hidden")
        compositor.point(9, 9)
        stream.until(lambda: stream.told[-1].visible, "it, at the same place again")


def test_it_is_painted_into_the_next_frame_where_nobody_draws_it_or_it_is_too_large(
    compositor: PointingCompositor, tmp_path: Path
) -> None:
    compositor.shape(white(8), 4, 2)
    compositor.point(104, 52)
    with Stream(tmp_path) as stream:
        stream.until(lambda: stream.whites() == 64, "it in the picture")
        compositor.point(WIDTH, 52)
        stream.until(lambda: stream.whites() == 32, "its left half, at the edge of the picture")
        compositor.draw(0, 0, WIDTH, HEIGHT, 128)
        stream.until(lambda: 126 in stream.capture.capture().luma, "a picture that is another")
        compositor.point(20, 20)
        stream.until(lambda: stream.whites() == 64, "it over that")
        assert set(stream.capture.capture().luma.flat) == {126, WHITE}, (
            "and nothing of the former where it was"
        )
        compositor.point(WIDTH, 52)
        stream.until(lambda: stream.whites() == 32, "it at the edge again")
        stream.capture.separate_cursor(stream.told.append)
        assert stream.whites() == 0, "at once, though nothing has changed"
        assert stream.drawn == CursorUpdate(True, WIDTH, 52, CursorShape(8, 8, 4, 2, b"\xff" * 8 * 8 * 4))
        compositor.shape(white(128), 0, 0)
        compositor.point(10, 10)
        stream.until(lambda: stream.whites() == 128 * 128, "one that is too large")
        assert not stream.told[-1].visible, "it would be there twice"
        compositor.shape(white(8), 0, 0)
        stream.until(lambda: stream.whites() == 0, "one that is not")
        assert stream.told[-1].visible
        stream.capture.separate_cursor(None)
        stream.until(lambda: stream.whites() == 64, "it in the picture again")
        compositor.hide()
        stream.until(lambda: stream.whites() == 0, "it to be gone")


def test_a_pointer_that_is_painted_makes_no_more_frames_than_the_stream_has(
    compositor: PointingCompositor, tmp_path: Path
) -> None:
    compositor.shape(white(8), 0, 0)
    with Stream(tmp_path, Mode(WIDTH, HEIGHT, 2)) as stream:
        began_ns = monotonic_ns()
        for x in range(20):
            compositor.point(x, 0)
            stream.capture.capture()
        stream.until(lambda: stream.whites() == 64, "it")
        at_once, lasted_s = 2, (monotonic_ns() - began_ns) / 1e9
        assert stream.capture.counters["captured"] <= at_once + 2 * lasted_s


def test_a_movement_that_came_too_early_for_a_frame_is_painted_as_soon_as_one_may_be_made(
    compositor: PointingCompositor, tmp_path: Path, patient: None
) -> None:
    compositor.shape(white(8), 0, 0)
    with Stream(tmp_path, Mode(WIDTH, HEIGHT, 2)) as stream:
        stream.capture.capture()
        began_ns = monotonic_ns()
        for x in range(3):
            compositor.point(10 * x, 0)
            assert stream.whites() == 64
        assert (monotonic_ns() - began_ns) / 1e9 < 30, "half a second is what the third has to wait"
        assert stream.capture.counters["repeated"] == 0


@pytest.mark.parametrize(
    "lacks", [{"has_pointer": False}, {"tells": False}, {"transform": 1}], ids=lambda lacks: str(*lacks)
)
def test_where_it_cannot_be_told_the_compositor_paints_it(tmp_path: Path, lacks: dict[str, int]) -> None:
    compositor = PointingCompositor(tmp_path / "wayland", WIDTH, HEIGHT, **lacks)  # type: ignore[arg-type]
    with Stream(tmp_path) as stream:
        assert compositor.paints_pointer
        stream.capture.separate_cursor(stream.told.append)
        stream.capture.capture()
        assert stream.told == [CursorUpdate(visible=False)], "it is in the picture"
    compositor.close()
    with PointingDesktop(tmp_path / "other", **lacks) as told:
        assert not told


class PointingDesktop:
    """Whether a desktop that asks such a compositor is answered that it tells its pointer."""

    def __init__(self, path: Path, **lacks: int) -> None:
        self._compositor = PointingCompositor(path, WIDTH, HEIGHT, **lacks)  # type: ignore[arg-type]
        self._path = path

    def __enter__(self) -> bool:
        with connect(str(self._path)) as connection:
            return tells_cursor(connection, connection.output("OUT-1"))

    def __exit__(self, *_: object) -> None:
        self._compositor.close()


def test_a_desktop_asks_for_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with PointingDesktop(tmp_path / "wayland") as told:
        assert told


def test_images_that_cannot_be_copied_are_not_asked_for_again_and_again(
    compositor: PointingCompositor, tmp_path: Path
) -> None:
    compositor.fails_images = True
    compositor.shape(white(8), 0, 0)
    compositor.point(1, 1)
    with Stream(tmp_path) as stream:
        stream.capture.separate_cursor(stream.told.append)
        stream.until(lambda: compositor.images_asked > 0, "the first try")
        for _ in range(50):
            stream.capture.capture()
        assert compositor.images_asked == 1
        compositor.fails_images = False
        compositor.point(2, 2)
        stream.until(lambda: stream.told[-1].visible, "it, once it moves")
        assert (stream.drawn.x, stream.drawn.y) == (2, 2)


@pytest.mark.parametrize(
    ("formats", "side", "cause"),
    [
        ((0x20203852,), 8, "no known format: 0x20203852"),
        ((), 8, "no known format: none"),
        ((0,), 1025, "1025x1025 pixels large"),
    ],
)
def test_an_image_that_cannot_be_taken_ends_the_capture_with_what_to_do(
    tmp_path: Path, formats: tuple[int, ...], side: int, cause: str
) -> None:
    compositor = PointingCompositor(tmp_path / "wayland", WIDTH, HEIGHT, image_formats=formats)
    compositor.shape(white(side), 0, 0)
    with Stream(tmp_path) as stream, pytest.raises(MediaError, match=cause) as refused:
        stream.until(lambda: False, "the image")
    assert "--cursor painted" in refused.value.hint
    compositor.close()


def test_images_of_the_other_order_of_bytes_have_the_same_colours(tmp_path: Path) -> None:
    compositor = PointingCompositor(tmp_path / "wayland", WIDTH, HEIGHT, image_formats=(0x3432_4241,))
    compositor.shape(np.full((1, 1, 4), (10, 20, 30, 255), np.uint8), 0, 0)
    compositor.point(0, 0)
    with Stream(tmp_path) as stream:
        stream.capture.separate_cursor(stream.told.append)
        stream.until(lambda: stream.told[-1].visible, "it")
        assert stream.drawn.shape == CursorShape(1, 1, 0, 0, bytes((10, 20, 30, 255)))
    compositor.close()
