"""The pictures of the page on FEC are those of the figures beside it, and its table is read as it stands."""

from __future__ import annotations

from tests.bench.figures import fec


def test_the_pictures_are_drawn_from_the_figures_that_are_kept() -> None:
    for name, svg in fec.drawings().items():
        kept = (fec.DOCS / name).read_text(encoding="utf-8")
        assert svg == kept, f"draw {name} again: python -m tests.bench.figures.fec"
        assert f"({name})" in fec.PAGE.read_text(encoding="utf-8")


def test_the_table_of_rows_and_transforms_is_read_from_the_page() -> None:
    table = fec.rows_table()
    assert list(table) == [
        "20 data shards, AVX-512 and GFNI", "50", "200", "1000", "20, portable", "1000, portable",
    ]  # fmt: skip
    assert table["200"] == {1: 0.85, 2: 1.29, 3: 1.82, 4: 2.23, 5: 2.52, 8: 3.43, 12: 3.32}
