"""Whole pictures through the engines, with small networks of random weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from engines.base import Cancelled, Result, UserError
from engines.media.provenance import from_file
from engines.registry import engine_class
from engines.superres.params import SuperresParams
from engines.superres.process import enlarge
from engines.superres.upscaler import Tiling
from tests.engines.superres.helpers import QuietJob, Repeat, makes, opened, photo, save

ROOT = Path(__file__).resolve().parents[3]


def run_in(job: QuietJob, engine: str, path: Path, **params: Any) -> Result:
    kind = engine_class(engine)
    return kind().run([path], kind.Params.model_validate(params), job)


def run(engine: str, path: Path, folder: Path, **params: Any) -> Result:
    return run_in(QuietJob(folder), engine, path, **params)


def result(outcome: Result) -> np.ndarray:
    return opened(outcome.outputs[0].path)


@pytest.mark.parametrize("size", [(37, 53), (1, 1), (1, 5000), (640, 2), (64, 64)])
@pytest.mark.parametrize("scale", [1.0, 2.0, 3.0, 4.0, 2.5])
def test_any_size_at_any_scale(size: tuple[int, int], scale: float, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(*size))
    before = path.read_bytes()
    outcome = run("superres.upsr", path, tmp_path / "w", scale=scale, source="clean")
    found = result(outcome)
    expected = tuple(max(int(side * scale + 0.5), 1) for side in size)
    assert found.shape[:2] == expected
    assert outcome.measurements["width"].value == expected[1]
    assert path.read_bytes() == before
    pair = outcome.comparisons[0]
    shown = expected if max(expected) <= 16_000 else (expected[0], 4096)
    assert opened(pair.before).shape == opened(pair.after).shape == (*shown, 3)
    assert outcome.thumbnail is not None
    assert max(opened(outcome.thumbnail).shape[:2]) <= 320
    names = {one.name for one in (tmp_path / "w").iterdir()}
    assert not [name for name in names if name.startswith(".")], "nothing half made stays"


def test_which_networks_are_asked_for_what(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(20, 24))

    def asked(**params: Any) -> list[str]:
        job = QuietJob(tmp_path / "w")
        run_in(job, "superres.upsr", path, **params)
        return job.asked

    assert asked(scale=2, source="clean") == ["fast-x2"]
    assert asked(scale=3, source="clean") == ["fast-x4"]
    assert asked(scale=8, source="clean") == ["fast-x2", "fast-x4"]
    assert asked(scale=2, source="photo") == ["fast-x4-photo"]
    assert asked(scale=6, source="photo") == ["fast-x4-photo", "fast-x2"]
    assert asked(scale=4) == ["fast-x4"]
    worn = tmp_path / "worn.jpg"
    Image.fromarray(photo(20, 24)).save(worn, quality=60)
    job = QuietJob(tmp_path / "w")
    result = run_in(job, "superres.upsr", worn, scale=4.0)
    assert job.asked == ["fast-x4-photo"]
    assert any("coarsely compressed" in note for note in result.notes)
    assert asked(strength=0.0) == []
    assert asked(regressor="my-x4", scale=8) == ["my-x4"]


def test_tiles_do_not_show(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(90, 120))
    small = result(run("superres.upsr", path, tmp_path / "w", tile=32, depth="16", output="tiff"))
    large = result(run("superres.upsr", path, tmp_path / "v", tile=512, depth="16", output="tiff"))
    # bfloat16 rounds what is added to the cubic part, in tiles of other shapes otherwise
    assert np.abs(small.astype(int) - large.astype(int)).max() <= 655


def test_grey_stays_grey(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(30, 40, 1))
    outcome = run("superres.upsr", path, tmp_path / "w", scale=2)
    with Image.open(outcome.outputs[0].path) as picture:
        assert picture.mode == "L"
        assert picture.size == (80, 60)
    assert opened(outcome.comparisons[0].after).ndim == 2


def test_palette_and_cmyk_are_enlarged_as_colours(tmp_path: Path) -> None:
    base = Image.fromarray(photo(24, 32))
    base.convert("P", palette=Image.Palette.ADAPTIVE, colors=16).save(tmp_path / "p.png")
    base.convert("CMYK").save(tmp_path / "c.tif")
    for name in ("p.png", "c.tif"):
        outcome = run("superres.upsr", tmp_path / name, tmp_path / "w", scale=2)
        with Image.open(outcome.outputs[0].path) as picture:
            assert picture.mode == "RGB"
            assert picture.size == (64, 48)
    assert any("CMYK" in note for note in outcome.notes)


def test_sixteen_bits_stay_sixteen(tmp_path: Path) -> None:
    ramp = np.linspace(10_000, 11_000, 64 * 48).reshape(48, 64, 1).repeat(3, 2).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), ramp)
    outcome = run("superres.classical", tmp_path / "a.png", tmp_path / "w", scale=2)
    found = cv2.imread(str(outcome.outputs[0].path), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert found.dtype == np.uint16
    assert len(np.unique(found)) > 1000, "finer than 8 bits could say"
    assert abs(int(found[48, 64, 0]) - 10_500) < 20
    narrow = run("superres.classical", tmp_path / "a.png", tmp_path / "w", scale=2, output="jpeg")
    assert any("8 bits" in note for note in narrow.notes)
    with pytest.raises(UserError, match="choose PNG or TIFF"):
        run("superres.classical", tmp_path / "a.png", tmp_path / "w", output="webp", depth="16")


def test_alpha_is_enlarged_apart_and_leaves_no_fringe(tmp_path: Path) -> None:
    y, x = np.mgrid[:48, :48] - 23.5
    alpha = np.rint(255 * ((15.0 - np.hypot(x, y)).clip(-2, 2) / 4 + 0.5)).astype(np.uint8)
    pixels = np.zeros((48, 48, 4), np.uint8)
    pixels[:, :, 3] = alpha
    pixels[alpha > 0, :3] = (220, 30, 40)
    path = save(tmp_path / "logo.png", pixels)
    lanczos = result(run("superres.classical", path, tmp_path / "w", scale=4))
    assert lanczos.shape == (192, 192, 4)
    seen = lanczos[lanczos[:, :, 3] > 0]
    assert (seen[:, :3] == (220, 30, 40)).all()
    network = result(run("superres.upsr", path, tmp_path / "w", scale=4))
    assert np.array_equal(network[:, :, 3], lanczos[:, :, 3])


def test_the_profile_stays_and_the_numbers_are_not_converted(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    path = save(
        tmp_path / "a.png", np.full((20, 20, 3), (200, 100, 50), np.uint8), icc_profile=profile
    )
    outcome = run("superres.classical", path, tmp_path / "w", scale=2)
    with Image.open(outcome.outputs[0].path) as picture:
        assert picture.info["icc_profile"] == profile
        assert picture.getpixel((9, 9)) == (200, 100, 50)


def test_how_it_was_made_is_in_the_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", photo(20, 20))
    outcome = run("superres.upsr", path, tmp_path / "w", scale=2)
    told = from_file(outcome.outputs[0].path)
    assert told is not None
    assert told["engine"] == "superres.upsr"
    assert told["params"]["scale"] == 2
    assert told["weights"] == {"fast-x4-photo": "0" * 64}
    assert told["measurements"]["width"]["value"] == 40
    assert "seconds" not in told["measurements"]


def test_names_and_formats(tmp_path: Path) -> None:
    path = save(tmp_path / "my.photo.jpg", photo(20, 20))
    named = run("superres.classical", path, tmp_path / "w", scale=2.5).outputs[0].path.name
    assert named == "my.photo-lanczos-2.5x.jpg"
    named = run(
        "superres.classical", path, tmp_path / "w", long_side=35, output="webp",
        name="{name}.before {scale}",
    ).outputs[0].path.name  # fmt: skip
    assert named == "my.photo.before 1.75x.webp"
    clash = run("superres.classical", path, tmp_path / "w", name="{name}.before")
    paths = {one.path for one in clash.outputs} | {clash.comparisons[0].before}
    assert len(paths) == 2
    for name in ("../x", "a/b", "a\\b", "{other}"):
        with pytest.raises(ValueError, match="holds letters and"):
            SuperresParams(name=name)


def test_a_longer_side_below_the_pictures_makes_it_smaller_and_says_so(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(60, 80))
    outcome = run("superres.upsr", path, tmp_path / "w", long_side=40)
    assert result(outcome).shape == (30, 40, 3)
    assert any("smaller" in note for note in outcome.notes)
    with pytest.raises(UserError, match="16 times is the most"):
        run("superres.upsr", path, tmp_path / "w", long_side=2000)


def test_strength_lies_between_lanczos_and_the_network(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(30, 30))
    none, half, whole = (
        result(run("superres.upsr", path, tmp_path / "w", scale=4, strength=s)).astype(float)
        for s in (0.0, 0.5, 1.0)
    )
    lanczos = result(run("superres.classical", path, tmp_path / "w", scale=4))
    assert np.array_equal(none, lanczos)
    assert np.abs(whole - none).mean() > 1.0
    inside = (whole > 0) & (whole < 255) & (none > 0) & (none < 255)
    assert np.abs(half - (none + whole) / 2)[inside].max() <= 1.0


def test_colours_of_a_network_that_invents_are_held(tmp_path: Path) -> None:
    class Tinted(Repeat):
        def upscale(self, lr: Any, place: tuple[int, int], full: bool = False) -> Any:
            return super().upscale(lr, place) * 0.8 + 0.15

    path = save(tmp_path / "a.png", photo(80, 80))
    plain = opened(path).mean((0, 1))
    stage = Tinted(2, Tiling(halo=0, tile=32))

    def shift(colour: str, generative: bool) -> float:
        make = makes(stage, generative=generative)
        params = SuperresParams(scale=2, colour=colour)  # type: ignore[arg-type]
        outcome = enlarge(path, params, QuietJob(tmp_path / "w"), make, "x.y", "1")
        return float(np.abs(result(outcome).mean((0, 1)) - plain).max())

    assert shift("auto", generative=False) > 8.0
    assert shift("off", generative=True) > 8.0
    assert shift("auto", generative=True) < 1.0
    assert shift("mean", generative=False) < 1.0


def test_bands_of_a_satellite_are_enlarged_in_threes(tmp_path: Path) -> None:
    bands = (photo(24, 32, 5, seed=3).astype(np.uint16) * 10) + 100
    bands[:6, :6] = 0
    path = tmp_path / "tile.tif"
    tifffile.imwrite(
        path, bands.transpose(2, 0, 1), photometric="minisblack", planarconfig="separate",
        metadata=None,
        extratags=[
            (33550, 12, 3, (10.0, 10.0, 0.0), True),
            (33922, 12, 6, (0.0, 0.0, 0.0, 500_000.0, 4_000_000.0, 0.0), True),
            (42113, 2, 2, "0", True),
        ],
    )  # fmt: skip
    brightest: list[float] = []

    class Looking(Repeat):
        def upscale(self, lr: Any, place: tuple[int, int], full: bool = False) -> Any:
            brightest.append(float(lr.max()))
            return super().upscale(lr, place)

    stage = Looking(2, Tiling(halo=0, tile=32))
    outcome = enlarge(
        path, SuperresParams(scale=2), QuietJob(tmp_path / "w"), makes(stage), "x.y", "1"
    )
    with tifffile.TiffFile(outcome.outputs[0].path) as file:
        page = file.pages[0]
        found = file.asarray()
        assert page.tags[33550].value[:2] == (5.0, 5.0)  # type: ignore[union-attr]
    if found.shape[0] == 5:
        found = found.transpose(1, 2, 0)
    assert found.shape == (48, 64, 5)
    assert (found[:12, :12] == 0).all()
    expected = bands.repeat(2, 0).repeat(2, 1)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert len(stage.seen) == 2
    assert max(brightest) == 1.0, "a network sees no picture that is nearly black"


def test_the_same_seed_is_the_same_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(40, 50))
    files = [
        run("superres.upsr", path, tmp_path / name, scale=2, seed=3).outputs[0].path.read_bytes()
        for name in ("v", "w")
    ]
    assert files[0] == files[1]


def test_cancel_in_the_middle_leaves_no_output(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(96, 96))
    whole = QuietJob(tmp_path / "v")
    run_in(whole, "superres.upsr", path, tile=32)
    assert whole.checks > 9
    for at in (2, 6, whole.checks):
        job = QuietJob(tmp_path / "w", cancel_at=at)
        with pytest.raises(Cancelled):
            run_in(job, "superres.upsr", path, tile=32)
        assert not list((tmp_path / "w").glob("a-*"))


def test_progress_counts_tiles_and_only_goes_forward(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(64, 64))
    job = QuietJob(tmp_path / "w")
    run_in(job, "superres.upsr", path, tile=32, scale=8)
    shares = [done / total for done, total, _ in job.reports]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert any("tile 2 of" in text for _, _, text in job.reports)


def test_a_result_without_room_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.png", photo(64, 64))
    usage = type("Usage", (), {"free": 100_000})
    monkeypatch.setattr("engines.superres.pipeline.shutil.disk_usage", lambda _path: usage)
    stage = Repeat(4, Tiling(halo=0))
    with pytest.raises(UserError, match="free some space or choose a smaller scale"):
        enlarge(path, SuperresParams(), QuietJob(tmp_path / "w"), makes(stage), "x.y", "1")
    assert stage.seen == []


MEASURED = """
import sys
from pathlib import Path
from engines.media.picture import read_picture
from engines.superres.meter import Meter
from engines.superres.params import SuperresParams
from engines.superres.pipeline import Pipeline, Work
from engines.superres import rows
from engines.superres.upscaler import Method, Tiling
from tests.engines.superres.helpers import QuietJob, Repeat, photo, save

rows._STRIP_BYTES = 1 << 20  # what is constant then shows less

def peak():
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) / 1024

folder = Path(sys.argv[1])
for side in (100, 600):
    picture = read_picture(save(folder / "a.png", photo(side, side)))
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    params, job = SuperresParams(), QuietJob(folder / "w")
    method = Method("x", [Repeat(4, Tiling(halo=0, tile=32))], generative=True)
    Pipeline(Work.plan(picture, params), method, params, job, Meter(job, 0, 1), (0, 0)).run()
    print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux's own measure")
def test_memory_hardly_grows_with_the_result(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    _, large = (float(line) for line in done.stdout.split())
    assert large < 45.0  # MB; one picture of 5.8 megapixels in float32 RGB would be 69
