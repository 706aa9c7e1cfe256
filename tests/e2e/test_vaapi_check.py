"""What VA-API would encode here: each thing that can be missing has its own error, with what to do about it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from punktfunk.errors import (
    CapabilityError,
    CodecUnavailableError,
    CodecUnsupportedError,
    DeviceMissingError,
    DriverMissingError,
)
from punktfunk.media import Codec
from punktfunk.media.encoders import libva, vaapi
from tests.support import gpu_doubles

REPOSITORY = Path(__file__).parents[2]
HIGH, MAIN, BASELINE, HEVC, AV1 = 7, 6, 13, 17, 32
DECODE, SLICE, LOW_POWER = 1, 6, 8


@pytest.fixture
def without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge the GPU alone: whether this PyAV has VA-API differs from machine to machine."""
    monkeypatch.setattr(vaapi, "require_pyav", lambda _codec: None)


def node(folder: Path, name: str, *lines: str) -> Path:
    made = folder / name
    made.write_text("\n".join(lines))
    return made


def examine(codec: Codec, folder: Path) -> tuple[Path, libva.EntryPoint]:
    return vaapi.examine(codec, folder, gpu_doubles.libva())


def test_a_machine_without_a_gpu_is_told_from_one_that_may_not_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DeviceMissingError, match="has no render node") as none:
        examine(Codec.H264, tmp_path)
    assert "--device /dev/dri" in none.value.hint
    (tmp_path / "renderD128").mkdir()  # what root may not open either
    (tmp_path / "card0").touch()
    with pytest.raises(DeviceMissingError, match="renderD128: Is a directory") as closed:
        examine(Codec.H264, tmp_path)
    assert "kernel driver" in closed.value.hint


_AS_NOBODY = """
import os, sys
from pathlib import Path
from punktfunk.media.encoders import libva
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(65534)
libva.render_nodes(Path("."))
"""


@pytest.mark.parametrize("closed", ["node", "folder"])
def test_who_may_not_open_a_gpu_is_told_of_its_group(tmp_path: Path, closed: str) -> None:
    node(tmp_path, "renderD128").chmod(0 if closed == "node" else 0o666)
    tmp_path.chmod(0o755 if closed == "node" else 0o311)
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    tmp_path.chmod(0o755)
    where = "renderD128" if closed == "node" else "no GPU may be looked for: ."
    assert f"{where}: Permission denied [PF540]" in done.stderr
    assert "usermod -aG render" in done.stderr


def test_a_driver_that_is_missing_is_named_in_its_librarys_words(tmp_path: Path) -> None:
    node(tmp_path, "renderD128", "refuse /usr/lib/dri/radeonsi_drv_video.so init failed")
    with pytest.raises(
        DriverMissingError, match=r"renderD128: /usr/lib/dri/radeonsi.* init failed"
    ) as caught:
        examine(Codec.H264, tmp_path)
    assert "mesa-va-drivers" in caught.value.hint
    node(tmp_path, "renderD129", "refuse of the second GPU")
    with pytest.raises(DriverMissingError, match=r"renderD128: .* init failed"):
        examine(Codec.H264, tmp_path)
    node(tmp_path, "renderD128", "refuse")
    with pytest.raises(DriverMissingError, match="renderD128: unknown libva error"):
        examine(Codec.H264, tmp_path)


def test_without_libva_there_is_no_driver_either(tmp_path: Path) -> None:
    node(tmp_path, "renderD128")
    for libraries in (("libva-absent.so.2", "libc.so.6"), ("libc.so.6", "libva-absent.so.2")):
        with pytest.raises(DriverMissingError, match="libva-absent") as caught:
            vaapi.examine(Codec.H264, tmp_path, libraries)
        assert "apt-get install libva2" in caught.value.hint
        with pytest.raises(DriverMissingError):
            vaapi.require_device(tmp_path, libraries)
    vaapi.require_device(tmp_path, gpu_doubles.libva())


def test_the_real_libva_takes_a_file_for_no_gpu(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # Where libva is not installed that is what is missing, which is the same error.
    node(tmp_path, "renderD128")
    with pytest.raises(DriverMissingError):
        vaapi.examine(Codec.H264, tmp_path)
    assert capfd.readouterr().err == "", "its words go into the error and not on the terminal"


@pytest.mark.usefixtures("without_pyav")
def test_each_codec_has_the_entry_point_that_its_first_profile_has(tmp_path: Path) -> None:
    place = node(
        tmp_path, "renderD128", "vendor Mesa Gallium driver 25.2.4 for AMD Radeon 780M",
        f"point {MAIN} {DECODE}", f"point {HIGH} {DECODE}", f"point {HIGH} {LOW_POWER}", f"point {HIGH} {SLICE}",
        f"point {HEVC} {LOW_POWER}", f"point {AV1} {DECODE}",
    )  # fmt: skip
    assert examine(Codec.H264, tmp_path) == (place, libva.EntryPoint.SLICE), "the usual one goes first"
    assert examine(Codec.HEVC, tmp_path) == (place, libva.EntryPoint.SLICE_LOW_POWER)
    with pytest.raises(
        CodecUnsupportedError, match=r"encodes av1 .* Radeon 780M encodes h264, hevc \[PF213"
    ) as caught:
        examine(Codec.AV1, tmp_path)
    assert "another codec" in caught.value.hint


@pytest.mark.usefixtures("without_pyav")
def test_constrained_baseline_alone_is_h264_too(tmp_path: Path) -> None:
    place = node(tmp_path, "renderD128", f"point {BASELINE} {SLICE}")
    assert examine(Codec.H264, tmp_path) == (place, libva.EntryPoint.SLICE)


def test_a_gpu_that_only_decodes_and_a_driver_that_answers_nothing_encode_nothing(tmp_path: Path) -> None:
    node(tmp_path, "renderD128", "vendor VA-API NVDEC driver", f"point {HIGH} {DECODE}")
    node(tmp_path, "renderD129", "broken", f"point {HIGH} {SLICE}")
    with pytest.raises(
        CodecUnsupportedError, match=r"NVDEC driver encodes nothing; \S+renderD129 encodes nothing"
    ):
        examine(Codec.H264, tmp_path)


@pytest.mark.usefixtures("without_pyav")
def test_of_several_gpus_the_first_that_can_is_taken_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    node(tmp_path, "renderD128", "refuse")
    (tmp_path / "renderD129").mkdir()
    node(tmp_path, "renderD130", f"point {HIGH} {SLICE}")
    node(tmp_path, "renderD1000", f"point {HIGH} {SLICE}", f"point {HEVC} {SLICE}")
    assert examine(Codec.H264, tmp_path)[0].name == "renderD130"
    assert examine(Codec.HEVC, tmp_path)[0].name == "renderD1000"
    with pytest.raises(CodecUnsupportedError):
        examine(Codec.AV1, tmp_path)


def test_a_gpu_that_could_is_no_use_to_a_pyav_without_va_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    node(tmp_path, "renderD128", f"point {HIGH} {SLICE}")
    # The wheel has none; a PyAV that was built with it has none of that name.
    monkeypatch.setattr(vaapi, "FFMPEG_NAMES", {**vaapi.FFMPEG_NAMES, Codec.H264: "h264_nonesuch"})
    with pytest.raises(CodecUnavailableError, match="built without h264_nonesuch") as caught:
        examine(Codec.H264, tmp_path)
    assert type(caught.value) is CodecUnavailableError
    assert "--no-binary av" in caught.value.hint
    monkeypatch.setattr(av, "__version__", "17.9.1")
    with pytest.raises(CodecUnavailableError, match=r"PyAV 17\.9\.1 .* 18 is the first"):
        examine(Codec.H264, tmp_path)


def test_each_of_the_three_is_a_missing_codec_and_a_missing_capability() -> None:
    kinds = [DeviceMissingError, DriverMissingError, CodecUnsupportedError]
    assert len({kind.code for kind in kinds}) == 3
    assert all(
        issubclass(kind, CodecUnavailableError) and issubclass(kind, CapabilityError) for kind in kinds
    )
    assert {kind.exit_code for kind in kinds} == {4}
