"""The desktops that can be streamed, as other rooms name them."""

from __future__ import annotations

from punktfunk.desktop.backends import BACKENDS
from punktfunk.host.management import COMPOSITORS


def test_the_management_api_names_the_compositor_of_every_back_end() -> None:
    assert {backend.compositor for backend in BACKENDS} <= {name for name, _ in COMPOSITORS}
