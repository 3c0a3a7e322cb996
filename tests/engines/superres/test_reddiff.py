"""RED-Diff: the paper's optimisation, whole pictures in tiles, and the engine's tasks on files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import pad

from engines.base import Cancelled, UserError
from engines.media.picture import read_picture
from engines.superres.degrade.inverse import pseudo_inverse
from engines.superres.degrade.jpeg import Jpeg
from engines.superres.degrade.operator import Average, Bicubic, Blur, Clipping, Mask, Operator
from engines.superres.engine import ReddiffEngine
from engines.superres.meter import Meter
from engines.superres.noise_field import noise_field
from engines.superres.reddiff.brush import drawn
from engines.superres.reddiff.frame import Frame, spans
from engines.superres.reddiff.params import ReddiffParams
from engines.superres.reddiff.schedule import Schedule, Weighting
from engines.superres.reddiff.settings import PriorSettings, ScheduleSettings
from engines.superres.reddiff.solve import Plan, Solver
from engines.superres.reddiff.tasks import Tuning, steps_of, tuning
from engines.superres.reddiff.unet import AdmUnet
from engines.superres.rows import Canvas, Levels
from engines.weights import BUNDLED
from tests.engines.superres.helpers import QuietJob, photo, save

TILE = 32


class Toy:
    """A prior that looks at single pixels, to which the likely ones are near grey."""

    schedule = Schedule(ScheduleSettings())

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def batch(self, tile: int, device: torch.device) -> int:
        return 3

    def noise(self, x: Tensor, t: int) -> Tensor:
        self.shapes.append(tuple(x.shape))
        alpha = self.schedule.alpha(t)
        return (x - math.sqrt(alpha) * 0.5 * x.tanh()) / math.sqrt(1.0 - alpha)


def solved(
    tmp_path: Path, pixels: np.ndarray, operator: Operator, plan: Plan, prior: Any = None
) -> Tensor:
    """(3, H, W) in 0..1."""
    meter = Meter(QuietJob(tmp_path / "work"), 0, 100)
    size = (pixels.shape[0] * operator.scale, pixels.shape[1] * operator.scale)
    canvas = Canvas(tmp_path / "out", 3, size)
    Solver(
        prior or Toy(), operator, plan, Levels(pixels, 255.0), (0, 0),
        lambda name: tmp_path / name, meter, "cpu",
    ).run(canvas)  # fmt: skip
    return canvas.window(0, size[0], 0, size[1])


def paper(y: Tensor, operator: Operator, plan: Plan) -> Tensor:
    """Algorithm 1 written down plainly, y in 0..1; both means are over a tile's elements."""
    toy = Toy()
    mu = (2.0 * pseudo_inverse(operator, y) - 1.0).detach().requires_grad_()
    adam = torch.optim.Adam([mu], lr=plan.rate, betas=(0.9, 0.99))
    for number, times in enumerate(toy.schedule.times(plan.steps, plan.together)):
        side = mu.shape[-1]

        def draw(which: int, number: int = number, side: int = side) -> Tensor:
            stream = number * (plan.together + 1) + which
            return noise_field(plan.seed, stream, 3, 0, 0, side, side)[None]

        moved = mu + plan.jitter * draw(plan.together)
        terms: list[Tensor] = []
        for which, t in enumerate(times):
            alpha, noise = toy.schedule.alpha(t), draw(which)
            x = math.sqrt(alpha) * moved + math.sqrt(1 - alpha) * noise
            weight = plan.weight * toy.schedule.weight(t, plan.weighting)
            terms.append(weight * ((toy.noise(x, t) - noise).detach() * moved).mean())
        error = (2.0 * y - 1.0) - (2.0 * operator.measure((moved + 1.0) / 2.0) - 1.0)
        if isinstance(operator, Mask):  # the mean is over what was measured
            error = error[:, :, operator.seen]
        loss = torch.stack(terms).mean() + 0.5 * plan.fidelity * error.square().mean()
        adam.zero_grad()
        (loss * mu.numel() / (3 * plan.tile**2)).backward()
        adam.step()
    return ((mu.detach() + 1.0) / 2.0)[0]


@pytest.mark.parametrize(
    ("operator", "plan"),
    [
        (Average(4), Plan(steps=9, tile=TILE)),
        (Blur.gauss(1.2), Plan(steps=7, tile=TILE, rate=0.5, weighting="sqrt", jitter=0.05)),
        (Bicubic(2), Plan(steps=12, tile=TILE, together=3, weight=0.5, seed=7)),
        (Clipping(), Plan(steps=5, tile=TILE, weighting="log", fidelity=2.0)),
        (Jpeg(20), Plan(steps=5, tile=TILE, weighting="truncated")),
        (
            Mask(torch.arange(TILE**2).reshape(TILE, TILE) % 7 > 2),
            Plan(steps=5, tile=TILE, weighting="square"),
        ),
    ],
    ids=["average", "blur", "parallel", "clipping", "jpeg", "mask"],
)
def test_one_tile_is_the_papers_optimisation(
    tmp_path: Path, operator: Operator, plan: Plan
) -> None:
    pixels = photo(TILE // operator.scale, TILE // operator.scale)
    y = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255.0
    gold = paper(y, operator, plan).clamp(0.0, 1.0)
    found = solved(tmp_path, pixels, operator, plan)
    if isinstance(operator, Mask):  # what was seen is the file's own
        assert torch.equal(found[:, operator.seen], y[0][:, operator.seen])
        found, gold = found[:, ~operator.seen], gold[:, ~operator.seen]
    away = (found - gold).abs()
    # Where a gradient is next to 0 its rounding is all that Adam's first step sees.
    assert float(away.mean()) < 1e-6
    assert float((away < 1e-4).float().mean()) > 0.999
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "work"]


@pytest.mark.parametrize("operator", [Average(2), Bicubic(2), Blur.gauss(0.6), Clipping()])
def test_tiles_and_rows_give_what_the_whole_does(tmp_path: Path, operator: Operator) -> None:
    """A prior that looks at single pixels gives the same in one piece and in tiles."""
    side = 96 // operator.scale
    pixels = photo(side, side)
    plan = Plan(steps=6, tile=TILE, jitter=0.01)
    y = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255.0
    found = solved(tmp_path, pixels, operator, plan)
    away = (found - paper(y, operator, plan).clamp(0.0, 1.0)).abs()
    assert float(away.mean()) < 1e-4
    assert float((away < 1e-3).float().mean()) > 0.999  # Adam takes 0 for + or - at its first step


def test_tiles_begin_elsewhere_at_every_step_and_add_up_to_one() -> None:
    begins: set[int] = set()
    for seed in range(20):
        found = spans(100, 32, 4, np.random.default_rng(seed))
        total = torch.zeros(100)
        for one in found:
            total[one.begin : one.begin + 32] += one.weights
        assert torch.allclose(total, torch.ones(100), atol=1e-6)
        assert (found[0].begin, found[-1].begin) == (0, 68)
        begins |= {one.begin for one in found}
    assert len(begins) > 15
    assert [one.begin for one in spans(32, 32, 4, np.random.default_rng(0))] == [0]


def test_the_prior_sees_tiles_of_its_size_alone(tmp_path: Path) -> None:
    toy = Toy()
    found = solved(tmp_path, photo(37, 90), Average(1), Plan(steps=2, tile=TILE), toy)
    assert found.shape == (3, 37, 90)
    assert {shape[1:] for shape in toy.shapes} == {(3, TILE, TILE)}
    assert max(shape[0] for shape in toy.shapes) == 3  # of a batch


def test_blocks_of_a_jpeg_lie_where_they_do_in_the_whole_picture() -> None:
    operator = Jpeg(10)
    y = operator.measure(torch.from_numpy(photo(64, 64)).permute(2, 0, 1)[None].float() / 255.0)
    cut = y[:, :, 21:61, 35:64]
    frame = Frame.around((40, 29), (21, 35), operator, TILE)
    assert (frame.before, frame.size, frame.inner) == ((5, 3), (48, 32), (40, 29))
    framed = pad(cut, (3, 0, 5, 3), mode="reflect")
    again = (operator.measure(framed) - framed)[:, :, 16:32, 16:32].abs().max()
    shifted = (operator.measure(cut[:, :, :32, :16]) - cut[:, :, :32, :16]).abs().max()
    assert float(again) < 1e-5 < 0.02 < float(shifted)


def test_a_stop_comes_between_blocks_and_leaves_no_files(tmp_path: Path) -> None:
    class Small(QuietJob):
        def load(self, model_id: str) -> Any:
            return small_prior(model_id)

    source = save(tmp_path / "in.png", photo(40, 40))
    counting = Small(tmp_path / "one")
    params = ReddiffParams(scale=1, steps=3)
    ReddiffEngine().run([source], params, counting)
    assert counting.checks > 3 * 10  # a look between the network's blocks
    stopped = Small(tmp_path / "two", cancel_at=counting.checks // 2)
    with pytest.raises(Cancelled):
        ReddiffEngine().run([source], params, stopped)
    assert not list((tmp_path / "two").glob(".reddiff*"))


SETTINGS = PriorSettings(
    channels=16, mult=(1, 2), blocks=1, attention=(False, False), groups=8, size=32,
    head_channels=16, updown=False,
)  # fmt: skip


def small_prior(model_id: str) -> Any:
    torch.manual_seed(0)
    network = AdmUnet(SETTINGS).eval().requires_grad_(requires_grad=False)
    file = SimpleNamespace(id=model_id, sha256="0" * 64, state="yours")
    return SimpleNamespace(file=file, network=network)


class PriorJob(QuietJob):
    """Its only network is a small prior that was not trained."""

    def load(self, model_id: str) -> Any:
        self.asked.append(model_id)
        return small_prior(model_id)


def run(tmp_path: Path, source: Path, origin: Any = None, **params: Any) -> tuple[Any, Any]:
    """The result, and its picture."""
    job = PriorJob(tmp_path / f"work-{len(list(tmp_path.iterdir()))}")
    chosen = ReddiffParams.model_validate({"steps": 3, **params})
    result = ReddiffEngine().run([source], chosen, job, origin)
    return result, read_picture(next(one.path for one in result.outputs if one.primary))


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("enlarge", {"scale": 2, "reduction": "average"}),
        ("enlarge", {"scale": 3}),
        ("deblur", {}),
        ("deblur", {"blur": "box", "blur_size": 2.6}),
        ("hdr", {}),
        ("dequantise", {"bits": 4}),
        ("jpeg", {"jpeg_quality": 20}),
    ],
)
def test_every_task_keeps_depth_and_size(tmp_path: Path, task: str, more: dict[str, Any]) -> None:
    deep = photo(30, 44).astype(np.uint16) * 257
    source = tmp_path / "in.png"
    cv2.imwrite(str(source), deep)
    result, picture = run(tmp_path, source, task=task, **more)
    scale = more.get("scale", 1)
    assert picture.pixels.shape == (30 * scale, 44 * scale, 3)
    assert picture.pixels.dtype == np.uint16
    assert result.measurements["width"].value == 44 * scale


def test_gray_pictures_stay_gray(tmp_path: Path) -> None:
    source = tmp_path / "gray.png"
    Image.fromarray(photo(33, 33)[:, :, 0]).save(source)
    _, picture = run(tmp_path, source, task="deblur")
    assert picture.pixels.shape == (33, 33, 1)


def test_a_jpeg_tells_its_own_quality(tmp_path: Path) -> None:
    source = tmp_path / "in.jpg"
    Image.fromarray(photo(48, 48)).save(source, quality=35, subsampling=0)
    told = ReddiffParams(task="jpeg").for_file(source)
    assert (told.jpeg_quality, told.jpeg_colour, told.scale) == (35, "full", 1.0)
    Image.fromarray(photo(48, 48)).save(tmp_path / "in.png")
    with pytest.raises(UserError, match="quality"):
        ReddiffParams(task="jpeg").for_file(tmp_path / "in.png")


def test_lost_levels_are_counted(tmp_path: Path) -> None:
    levels = (photo(48, 48) // 16 * 17).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "few.png")
    assert ReddiffParams(task="dequantise").for_file(tmp_path / "few.png").bits == 4
    Image.fromarray(photo(48, 48)).save(tmp_path / "all.png")
    with pytest.raises(UserError, match="levels"):
        ReddiffParams(task="dequantise").for_file(tmp_path / "all.png")


def painted(how: str, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    pixels, source = photo(40, 50), tmp_path / "in.png"
    hole = (slice(12, 22), slice(20, 33))
    if how == "erased":
        alpha = np.full((40, 50, 1), 255, np.uint8)
        alpha[hole] = 0
        Image.fromarray(np.concatenate([pixels, alpha], axis=2)).save(source)
        return source, {}
    if how == "painted":
        pixels[hole] = (255, 0, 255)
    Image.fromarray(pixels).save(source)
    if how == "painted":
        return source, {}
    if how == "brush":  # to and fro, and a dot far out of the picture
        strokes = [[2, 23, 15, 29, 15, 29, 18, 23, 18], [5, 22, 700]]
        return source, {"strokes": json.dumps({"": strokes})}
    mask = np.zeros((40, 50), np.uint8)
    mask[hole] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return source, {"mask": str(tmp_path / "mask.png")}


@pytest.mark.parametrize("how", ["erased", "painted", "mask", "brush"])
def test_what_is_marked_is_filled_and_nothing_else_changes(tmp_path: Path, how: str) -> None:
    source, params = painted(how, tmp_path)
    result, picture = run(tmp_path, source, task="inpaint", grow=0, **params)
    assert picture.alpha is None
    same = np.all(picture.pixels == photo(40, 50), axis=2)
    hole = np.zeros((40, 50), bool)
    hole[12:22, 20:33] = True
    assert same[~hole].all()
    assert not same[hole].all()
    assert result.outputs[0].label == "Filled picture"
    # A region of it, as the preview cuts it, has the same pixels marked.
    cut = tmp_path / "cut.png"
    with Image.open(source) as image:
        image.crop((15, 8, 50, 40)).save(cut)
    _, part = run(tmp_path, cut, origin=(8, 15), task="inpaint", grow=0, **params)
    same = np.all(part.pixels == photo(40, 50)[8:, 15:], axis=2)
    assert np.array_equal(same | hole[8:, 15:], np.ones_like(same))


def test_few_steps_have_numbers_of_their_own_and_many_have_the_authors() -> None:
    assert tuning("deblur", 1000) == Tuning(0.5, 0.25, (0.9, 0.99))
    assert tuning("deblur", 50).betas[1] < 0.99**20  # in its own steps it forgets sooner still
    assert steps_of("inpaint") > steps_of("enlarge")


def test_strokes_go_by_the_name_of_the_picture(tmp_path: Path) -> None:
    text = json.dumps({"one.png": [[0, 3, 2]], "": [[0, 1, 1]]})
    for name, place in {"one.png": (2, 3), "other.png": (1, 1)}.items():
        told = ReddiffParams(task="inpaint", strokes=text).for_file(tmp_path / name)
        again = told.for_file(tmp_path / "region.tif")  # what the preview cuts out of it
        holes = drawn(again.strokes, (4, 5), (0, 0))
        assert [tuple(at) for at in np.argwhere(holes)] == [place]
    assert not ReddiffParams(
        task="inpaint", strokes=json.dumps({"one.png": [[0, 3, 2]]})
    ).for_file(tmp_path / "other.png").strokes  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["[1, 2]", '{"a.png": [[3, 1]]}', '{"a.png": [[3]]}', '{"a.png": [[-1, 2, 2]]}', "{",
     '{"a.png": [[3, 1, 900000]]}', '{"a.png": [[3.5, 1, 2]]}', "[" * 40_000, '{"a.png": [[]]}'],
)  # fmt: skip
def test_strokes_that_cannot_be_drawn_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match=r"(?i)strokes? (are|is|has)"):
        ReddiffParams(task="inpaint", strokes=text)


def test_marks_that_cannot_be_used_are_a_sentence(tmp_path: Path) -> None:
    source = save(tmp_path / "in.png", photo(40, 50))
    with pytest.raises(UserError, match="Nothing is marked"):
        run(tmp_path, source, task="inpaint")
    Image.new("L", (10, 10)).save(tmp_path / "small.png")
    with pytest.raises(UserError, match="as large"):
        run(tmp_path, source, task="inpaint", mask=str(tmp_path / "small.png"))
    Image.new("L", (50, 40), 255).save(tmp_path / "all.png")
    with pytest.raises(UserError, match="All of"):
        run(tmp_path, source, task="inpaint", mask=str(tmp_path / "all.png"))


def test_without_a_prior_a_sentence_says_how_to_get_one(tmp_path: Path) -> None:
    class Bare(QuietJob):
        def load(self, model_id: str) -> Any:
            raise UserError(f"There is no model {model_id}")

    source = save(tmp_path / "in.png", photo(8, 8))
    shipped = (BUNDLED / "reddiff-prior.safetensors").is_file()
    match = "There is no model" if shipped else "train reddiff-prior"
    with pytest.raises(UserError, match=match):
        ReddiffEngine().run([source], ReddiffParams(), Bare(tmp_path / "work"))
    with pytest.raises(UserError, match="There is no model"):
        ReddiffEngine().run([source], ReddiffParams(weights="mine"), Bare(tmp_path / "work"))


def test_the_same_seed_gives_the_same_and_another_does_not(tmp_path: Path) -> None:
    source = save(tmp_path / "in.png", photo(20, 20))
    one, two, other = (
        run(tmp_path, source, scale=2, seed=seed, weight=2.0)[1].pixels for seed in (1, 1, 2)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


WEIGHTINGS: tuple[Weighting, ...] = ReddiffParams.model_fields["weighting"].annotation.__args__  # type: ignore[union-attr]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_weighting_falls_with_the_noise(weighting: Weighting) -> None:
    values = [Schedule(ScheduleSettings()).weight(t, weighting) for t in range(999, -1, -111)]
    assert values == sorted(values, reverse=True)
