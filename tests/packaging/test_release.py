"""The folder of a release holds what it says, says what is inside, and installs by the line that README has.

It is assembled of the wheel that the suite has anyway. `nox -s dist -- --again` builds a wheel for others, twice, and
`nox -s dist-roots` installs it in bare Debians.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from punktfunk.errors import CheckFailedError, HarnessError
from tests.packaging.release import build, folder, licences, sbom
from tests.packaging.release.__main__ import compare, pages
from tests.packaging.release.build import Built
from tests.packaging.release.crates import TARGET, Crate, compiled_in
from tests.packaging.roots.__main__ import faults_of
from tests.packaging.roots.inside import FRAMES
from tests.support.wheel import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MADE = datetime(2026, 11, 26, 19, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """Return the source archive of this clone; where there is a wheel, there are the tools for it."""
    return build.archive(ROOT, tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> folder.Origin:
    """Return where the release is said to come from."""
    page = tmp_path_factory.mktemp("rust") / "COPYRIGHT-library.html"
    page.write_text("of the standard library")
    return folder.Origin("0123abcd", MADE, "1.95.0", page)


@pytest.fixture(scope="module")
def release(
    wheel: Path, source: Path, origin: folder.Origin, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a release."""
    return folder.assemble(wheel, source, tmp_path_factory.mktemp("dist"), origin)


def test_the_committed_licences_and_bill_are_of_the_crates_that_are_locked() -> None:
    for page, text in pages().items():
        assert (ROOT / page).read_text(encoding="utf-8") == text, f"{page} has drifted: nox -s docs"


def test_every_file_of_a_release_has_its_sum_and_its_words(release: Path, wheel: Path, source: Path) -> None:
    names = {path.name for path in release.iterdir()}
    assert names == {
        *(wheel.name, source.name, f"{release.name}.cdx.json", "INSTALL", "SHA256SUMS", "constraints.txt"),
        *("LICENSE-MIT", "LICENSE-APACHE", "LICENSE-THIRD-PARTY", "rust-standard-library.html"),
    }
    summed = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=release, capture_output=True, text=True, check=True
    )
    assert {line.partition(": ")[0] for line in summed.stdout.splitlines()} == names - {"SHA256SUMS"}
    text = (release / "INSTALL").read_text()
    assert {name for name in names if name not in text} == {"INSTALL"}
    assert "0123abcd" in text
    assert re.search(r"\(x86_64\) with glibc 2\.\d+ or newer and Python >=3\.11", text)
    (release / "INSTALL").write_text(text + "changed")
    assert subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=release, check=False).returncode
    (release / "INSTALL").write_text(text)


def test_readme_and_a_release_have_the_line_that_is_proven_in_bare_roots(release: Path) -> None:
    assert folder.INSTALL in (ROOT / "README.md").read_text().splitlines()
    assert folder.INSTALL in (line.strip() for line in (release / "INSTALL").read_text().splitlines())


def test_the_same_files_make_the_same_release(
    release: Path, wheel: Path, source: Path, origin: folder.Origin, tmp_path: Path
) -> None:
    again = folder.assemble(wheel, source, tmp_path, origin)
    assert (again / folder.SUMS).read_text() == (release / folder.SUMS).read_text()
    assert list(tmp_path.iterdir()) == [again], "nothing of the building is left"
    later = folder.assemble(wheel, source, tmp_path, replace(origin, rustc="1.96.0"))
    assert (later / folder.SUMS).read_text() != (release / folder.SUMS).read_text()


def test_the_tag_of_the_wheel_is_what_its_symbols_need_and_no_newer_than_a_release_allows(
    wheel: Path,
) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", str(wheel)], capture_output=True, text=True, check=True
    )
    ((tag, needed),) = re.findall(
        r'consistent\s.*platform\s+tag:\s+"(manylinux_2_(\d+)_\w+)"', told.stdout, re.DOTALL
    )
    assert wheel.name.endswith(f"-cp311-abi3-{tag}.whl")
    assert int(needed) <= int(build.MANYLINUX.rpartition("_")[2])


def test_a_wheel_carries_the_licences_and_the_bill_of_its_crates(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name.partition(".dist-info/")[2]: archive.read(name) for name in archive.namelist()}
    assert inside["sboms/punktfunk-core.cdx.json"] == (ROOT / sbom.PAGE).read_bytes()
    assert inside["licenses/LICENSE-THIRD-PARTY"] == (ROOT / licences.PAGE).read_bytes()
    assert [name for name in inside if name.startswith("sboms/")] == ["sboms/punktfunk-core.cdx.json"]


def test_the_bills_are_cyclonedx_and_have_what_cargo_links_and_pip_installs(
    release: Path, wheel: Path
) -> None:
    told = subprocess.run(
        [
            *("cargo", "tree", "--locked", "--manifest-path", str(ROOT / "punktfunk/core/python/Cargo.toml")),
            *("-e", "normal,no-proc-macro", "--target", TARGET, "--prefix", "none", "--no-dedupe", "-f", "{p}"),
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    linked = {tuple(line.replace(" v", " ").split()[:2]) for line in told.stdout.splitlines()}
    assert len(linked) > 25
    documents = []
    for path in (ROOT / sbom.PAGE, release / f"{release.name}.cdx.json"):
        text = path.read_text(encoding="utf-8")
        wrong = JsonStrictValidator(SchemaVersion.V1_7).validate_str(text)
        assert wrong is None, wrong.data.message
        assert str(ROOT) not in text
        document = json.loads(text)
        documents.append(document)
        crates = {(c["name"], c["version"]) for c in document["components"] if "version" in c}
        assert crates - {("rust-std", "1.95.0")} == linked
        known = {c["bom-ref"] for c in (document["metadata"]["component"], *document["components"])}
        assert {ref for d in document["dependencies"] for ref in (d["ref"], *d.get("dependsOn", []))} <= known
    own, whole = documents
    assert "serialNumber" not in own
    assert "timestamp" not in own["metadata"]
    assert whole["metadata"]["timestamp"] == "2026-11-26T19:00:00Z"
    assert {
        "name": wheel.name,
        "bom-ref": wheel.name,
        "type": "file",
        "hashes": [{"alg": "SHA-256", "content": folder.sum_of(wheel)}],
    } in whole["metadata"]["component"]["components"]
    beside = {c["name"]: c["scope"] for c in whole["components"] if c.get("isExternal")}
    assert beside["numpy"] == "required"
    assert beside["pywayland"] == "optional"


def test_the_source_archive_has_what_compiles_and_nothing_that_was_compiled(source: Path) -> None:
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in (
        *(
            "pyproject.toml",
            "README.md",
            "LICENSE-MIT",
            "harness/cli.py",
            "punktfunk/cli.py",
            str(licences.PAGE),
        ),
        *(
            f"punktfunk/core/{name}"
            for name in ("Cargo.toml", "Cargo.lock", "src/lib.rs", "python/src/lib.rs")
        ),
        str(sbom.PAGE),
    ):
        assert wanted in names
    assert [name for name in names if name.endswith((".so", ".pyc")) or "/target/" in name] == []


def test_a_wheel_that_names_a_folder_of_this_machine_is_found(tmp_path: Path) -> None:
    registry, tree = tmp_path / "registry", tmp_path / "tree"
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as files:
        files.writestr("first.py", str(tree))
        files.writestr("module.so", b"\0" + bytes(registry / "ring" / "lib.rs") + b"\0")
    with pytest.raises(CheckFailedError) as caught:
        build.require_no_folder_named(tmp_path / "some.whl", [tree, registry])
    assert f"first.py names {tree}; module.so names {registry}" in caught.value.cause
    build.require_no_folder_named(tmp_path / "some.whl", [tmp_path / "other"])


def changed(wheel: Path, part: str, content: bytes | None, out: Path) -> Path:
    """Return a copy of a wheel whose files with ``part`` in their names have other content, or are left out."""
    out.mkdir()
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(out / wheel.name, "w") as copy:
        for name in whole.namelist():
            if part not in name:
                copy.writestr(name, whole.read(name))
            elif content is not None:
                copy.writestr(name, content)
    return out / wheel.name


@pytest.mark.parametrize(
    "change", list(itertools.product(["LICENSE-THIRD-PARTY", "cdx.json"], [None, b"of other crates"]))
)
def test_a_wheel_without_its_licences_or_its_bill_is_not_released(
    change: tuple[str, bytes | None], wheel: Path, source: Path, origin: folder.Origin, tmp_path: Path
) -> None:
    lacking = changed(wheel, *change, tmp_path / "wheel")
    with pytest.raises(HarnessError, match=change[0]):
        folder.assemble(lacking, source, tmp_path / "dist", origin)


def test_a_wheel_for_the_machine_that_built_it_is_not_released(
    wheel: Path, source: Path, origin: folder.Origin, tmp_path: Path
) -> None:
    local = tmp_path / re.sub(r"manylinux_2_\d+", "linux", wheel.name)
    local.write_bytes(wheel.read_bytes())
    with pytest.raises(HarnessError, match="linux_x86_64 and not for every Linux"):
        folder.assemble(local, source, tmp_path / "dist", origin)
    assert not (tmp_path / "dist").exists()


def a_crate(place: Path, licence: str, *texts: str) -> Crate:
    """Return a crate with files of these names, each with its name as text."""
    for name in texts:
        (place / name).write_text(name)
    return Crate("some", "1.0.0", licence, place, "00", ())


@pytest.mark.parametrize(
    ("licence", "files", "taken"),
    [
        ("MIT OR Apache-2.0", ["LICENSE-APACHE", "LICENSE-MIT"], ["LICENSE-MIT"]),
        ("Apache-2.0 OR MIT", ["LICENSE"], ["LICENSE"]),
        ("Apache-2.0 AND ISC", ["LICENSE", "LICENSE-other-bits"], ["LICENSE", "LICENSE-other-bits"]),
        ("(MIT OR Apache-2.0) AND ISC", ["LICENSE-ISC", "LICENSE-MIT"], ["LICENSE-ISC", "LICENSE-MIT"]),
        ("(ISC OR MIT OR Zlib) AND NCSA", ["LICENSE-MIT", "LICENSE-NCSA"], ["LICENSE-MIT", "LICENSE-NCSA"]),
        ("ISC", ["LICENSE.txt", "README.md"], ["LICENSE.txt"]),
    ],
)
def test_of_alternatives_mit_is_taken_and_of_parts_all(
    licence: str, files: list[str], taken: list[str], tmp_path: Path
) -> None:
    crate = a_crate(tmp_path, licence, *files)
    assert sorted(crate.texts()) == taken
    page = licences.text([crate])
    assert all(f"\nsome 1.0.0 ({licence}): {name}\n" in page for name in taken)
    assert all(f"\n{name}\n" in page for name in taken)
    assert page.count(f"some 1.0.0 ({licence})") == len(taken)


def test_a_crate_without_a_licence_is_told(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"some@1\.0\.0 \(MIT\) comes without"):
        a_crate(tmp_path, "MIT", "README.md").texts()


def test_every_crate_of_others_is_on_the_page_of_licences() -> None:
    page = (ROOT / licences.PAGE).read_text()
    others = [crate for crate in compiled_in() if not crate.ours]
    assert [crate.key for crate in others if f"\n{crate.name} {crate.version} (" not in page] == []
    assert "Brian Smith" in page, "who wrote ring"


def test_builds_that_differ_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def built(name: str, wheel: bytes) -> Built:
        (tmp_path / name).mkdir()
        (tmp_path / name / "w.whl").write_bytes(wheel)
        (tmp_path / name / "s.tar.gz").write_bytes(b"source")
        return Built(tmp_path / name / "w.whl", tmp_path / name / "s.tar.gz", tmp_path)

    first = built("first", b"wheel")
    compare(first, built("same", b"wheel"))
    assert "the same bytes of w.whl" in capsys.readouterr().out
    with pytest.raises(CheckFailedError, match=r"two builds of w\.whl differ"):
        compare(first, built("other", b"wheeL"))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda report: report["compilers"].append("gcc"), "there is gcc"),
        (lambda report: report.update(doctor=4), "doctor ended with 4"),
        (lambda report: report.update(connect=1), "connect ended with 1"),
        (
            lambda report: report["counters"].update(frames_complete=FRAMES - 1),
            f"{FRAMES - 1} of {FRAMES} frames",
        ),
        (lambda report: report["counters"].update(strips_read=0), f"0 of {FRAMES} pictures"),
    ],
)
def test_a_bare_root_where_something_is_wrong_fails(
    change: Callable[[dict[str, object]], None], fault: str
) -> None:
    counters = {"frames_complete": FRAMES, "strips_read": FRAMES}
    report = {"compilers": [], "doctor": 0, "connect": 0, "counters": counters, "lacking": ["sway"]}
    assert faults_of(report) == []
    change(report)
    (told,) = faults_of(report)
    assert fault in told
