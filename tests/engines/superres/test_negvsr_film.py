"""Films through NegVSR: how they are cut into sequences and tiles, and what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from engines.base import Cancelled, Result, UserError
from engines.media.provenance import from_file
from engines.media.video_facts import read_video_facts
from engines.media.video_read import Frame
from engines.superres.engine import NegvsrEngine
from engines.superres.negvsr.finish import upright
from engines.superres.negvsr.params import OVERLAP, NegvsrParams
from engines.superres.negvsr.process import longest, threshold
from engines.superres.negvsr.restore import Restorer
from engines.superres.negvsr.sequences import Sequence, sequences
from tests.engines.media.make_film import Frames, film, moving, pictures, sound_packets, times
from tests.engines.superres.helpers import QuietJob
from tests.engines.superres.test_negvsr import network


class FilmJob(QuietJob):
    """A job with a small network of random weights."""

    def load(self, model_id: str) -> Any:
        self.asked.append(model_id)
        file = SimpleNamespace(id=model_id, sha256="0" * 64, card={})
        return SimpleNamespace(file=file, network=network())


class NoWeights(QuietJob):
    def load(self, model_id: str) -> Any:
        raise UserError(f"The weights {model_id} are not here")


def run(source: Path, job: QuietJob, **params: Any) -> Result:
    return NegvsrEngine().run([source], NegvsrParams(**params), job)


def frames_of(*scenes: Frames) -> Iterator[Frame]:
    number = 0
    for scene in scenes:
        for pixels in scene:
            yield Frame(pixels, number, 1)
            number += 1


def given(found: list[Sequence]) -> list[int]:
    return [one.pts for each in found for one in each.frames[each.first : each.end]]


# --- sequences ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 9, 10, 11, 12, 16, 17, 35])
def test_every_frame_is_given_once_and_in_order(count: int) -> None:
    found = list(sequences(frames_of(moving(count)), 10))
    assert given(found) == list(range(count))
    assert max(len(one.frames) for one in found) <= 10


def test_between_sequences_the_outer_half_of_the_overlap_is_dropped() -> None:
    first, second, third = sequences(frames_of(moving(20)), 10)
    half = OVERLAP // 2
    assert (first.first, first.end) == (0, 10 - half)
    assert (second.first, second.end) == (half, 10 - half)
    assert [one.pts for one in second.frames] == list(range(6, 16))
    assert (third.first, third.end) == (half, len(third.frames))


def test_a_cut_ends_a_sequence_and_nothing_of_one_scene_sees_another() -> None:
    bright = np.clip(moving(7, seed=4).astype(int)[:, ::-1] + 90, 0, 255).astype(np.uint8)
    found = list(sequences(frames_of(moving(13), bright, moving(5)), 10))
    assert given(found) == list(range(25))
    spans = [(one.frames[0].pts, one.frames[-1].pts) for one in found]
    assert spans == [(0, 9), (6, 12), (13, 19), (20, 24)]
    assert [one.first for one in found] == [0, OVERLAP // 2, 0, 0]


def test_movement_and_light_are_no_cuts() -> None:
    fast = moving(12, 60, 80, speed=6)
    fading = np.stack([(one * (1 - at / 14)).astype(np.uint8) for at, one in enumerate(moving(12))])
    for frames in (fast, fading):
        assert len(list(sequences(frames_of(frames), 30))) == 1


def test_a_large_film_gets_short_sequences(tmp_path: Path) -> None:
    facts = read_video_facts(film(tmp_path / "a.mp4", moving(2)))
    assert longest(facts, 30) == 30
    large = SimpleNamespace(width=1920, height=1080, bits=8)
    assert longest(large, 30) < 15  # type: ignore[arg-type]
    assert longest(SimpleNamespace(width=7680, height=4320, bits=10), 30) == 8  # type: ignore[arg-type]


# --- tiles -------------------------------------------------------------------------------------


def restored(frames: Frames, tile: int, scratch: Path, *, plain: bool = False) -> torch.Tensor:
    net = network()
    if plain:
        torch.nn.init.zeros_(net.basicvsr.conv_last.weight)
    restorer = Restorer(net, "cpu", 1.0, 255.0, tile, scratch, lambda _share: None)
    stack = restorer.run(list(frames))
    height, width = (4 * side for side in frames.shape[1:3])
    found = [stack.frame(at).window(0, height, 0, width) for at in range(len(frames))]
    stack.remove()
    assert not scratch.exists()
    return torch.stack(found)


def test_tiles_clean_alike_and_add_up(tmp_path: Path) -> None:
    """Without what the propagation adds, tiles are the whole but at the bilinear filter's edge."""
    frames = moving(3, 70, 150)
    whole = restored(frames, 512, tmp_path / "a", plain=True)
    tiled = restored(frames, 64, tmp_path / "b", plain=True)
    difference = (whole - tiled).abs()
    assert float(difference.max()) < 0.05
    assert float(difference.mean()) < 1e-3


def test_tiles_leave_no_seam(tmp_path: Path) -> None:
    frames = moving(3, 64, 200, speed=2)
    difference = (
        restored(frames, 512, tmp_path / "a") - restored(frames, 64, tmp_path / "b")
    ).abs()
    steps = difference.diff(dim=-1).abs().mean((0, 1, 2))
    assert float(steps.max()) < 4.0 * float(steps.mean()) + 1e-3


def test_a_frame_smaller_than_a_tile_comes_back_whole(tmp_path: Path) -> None:
    assert restored(moving(2, 18, 34), 0, tmp_path / "a").shape == (2, 3, 72, 136)


# --- from file to file -------------------------------------------------------------------------


def test_a_film_comes_out_four_times_as_large(tmp_path: Path) -> None:
    frames = np.concatenate([moving(12, 40, 56), moving(5, 40, 56, seed=3)[:, ::-1] // 2 + 120])
    source = film(tmp_path / "clip.mp4", frames, sound="aac")
    job = FilmJob(tmp_path / "work")
    result = run(source, job, sequence=10)
    [output] = result.outputs
    assert (output.path.name, output.kind, output.primary) == ("clip-negvsr-4x.mp4", "video", True)
    found = pictures(output.path)
    assert (len(found), found[0].shape) == (17, (160, 224, 3))
    assert times(output.path) == pytest.approx(times(source), abs=1e-3)
    assert [b for _, b in sound_packets(output.path)] == [b for _, b in sound_packets(source)]
    values = {name: one.value for name, one in result.measurements.items()}
    assert (values["width"], values["height"], values["frames"]) == (224, 160, 17)
    assert values["scenes"] == 2
    assert result.models == {"negvsr-small": "0" * 64}
    made = from_file(output.path)
    assert made is not None
    assert (made["engine"], made["params"]["scale"]) == ("superres.negvsr", 4.0)
    [pair] = result.comparisons
    with Image.open(pair.before) as before, Image.open(pair.after) as after:
        assert before.size == after.size == (224, 160)
    dones = [done for done, _, _ in job.reports]
    assert dones == sorted(dones)
    assert any("frame 17 of 17" in text for _, _, text in job.reports)
    kept = {path.name for path in job.workspace.iterdir()}
    assert kept == {"clip-negvsr-4x.mp4", "clip.before.jpg", "clip.after.jpg", "clip.thumbnail.jpg"}


def test_without_the_network_it_is_lanczos_and_asks_for_no_weights(tmp_path: Path) -> None:
    frames = moving(4, 40, 56)
    source = film(tmp_path / "clip.mp4", frames)
    result = run(source, NoWeights(tmp_path / "work"), strength=0.0, scale=1.5)
    found = pictures(result.outputs[0].path)
    assert found[0].shape == (60, 84, 3)
    wanted = np.asarray(Image.fromarray(frames[2]).resize((84, 60), Image.Resampling.LANCZOS))
    assert np.abs(found[2].astype(int) - wanted).mean() < 4.0
    assert result.outputs[0].path.name == "clip-lanczos-1.5x.mp4"


def test_strength_blends(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mp4", moving(3, 40, 56))
    found = []
    for strength in (0.0, 0.5, 1.0):
        result = run(source, FilmJob(tmp_path / f"w{strength}"), strength=strength, quality=100)
        found.append(pictures(result.outputs[0].path)[1].astype(float))
    assert np.abs(found[1] - (found[0] + found[2]) / 2).mean() < 2.5
    assert np.abs(found[0] - found[2]).mean() > 5.0


def test_the_same_film_gives_the_same_film(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mp4", moving(5, 40, 56), sound="aac")
    bodies = []
    for number in range(3):
        path = run(source, FilmJob(tmp_path / f"work{number}"), scale=2.0).outputs[0].path
        bodies.append(path.read_bytes())
    assert bodies[0] == bodies[1] == bodies[2]


def test_a_preview_is_one_second(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mp4", moving(60, 32, 40), sound="aac")
    result = run(source, FilmJob(tmp_path / "work"), preview=True, start=0.5, scale=2.0)
    path = result.outputs[0].path
    assert path.name == "clip-negvsr-2x-preview.mp4"
    assert len(pictures(path)) == 25
    assert 0.0 <= times(path)[0] <= 0.04  # the first frame that is shown after half a second
    assert sound_packets(path)[-1][0] < 1.1
    with pytest.raises(UserError, match=r"clip\.mp4 ends before 9 s"):
        run(source, FilmJob(tmp_path / "late"), start=9.0)


def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mp4", moving(12, 40, 56))
    for at in (2, 30, 80):
        job = FilmJob(tmp_path / f"work{at}", cancel_at=at)
        with pytest.raises(Cancelled):
            run(source, job)
        assert not list(job.workspace.glob("*.mp4*"))


def test_missing_weights_and_no_film_get_a_sentence(tmp_path: Path) -> None:
    source = film(tmp_path / "clip.mp4", moving(2))
    with pytest.raises(UserError, match="train negvsr-small"):
        run(source, NoWeights(tmp_path / "work"))
    text = tmp_path / "text.mp4"
    text.write_text("words " * 50)
    with pytest.raises(UserError, match=r"text\.mp4"):
        run(text, FilmJob(tmp_path / "other"))


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_turned_film_is_compared_upright(tmp_path: Path, turned: int) -> None:
    source = film(tmp_path / "clip.mp4", moving(2, 32, 48), turned=turned)
    facts = read_video_facts(source)
    with av.open(source) as opened:
        frame = next(opened.decode(video=0))
        quarters = frame.rotation // 90
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    assert np.array_equal(upright(pixels, facts), np.rot90(pixels, quarters))
    result = run(source, FilmJob(tmp_path / "work"), strength=0.0)
    width, height = (result.measurements[name].value for name in ("width", "height"))
    assert (width, height) == ((192, 128) if turned == 180 else (128, 192))
    with Image.open(result.comparisons[0].after) as after:
        assert after.size == (width, height)


def test_how_often_is_cleaned_goes_by_the_weights() -> None:
    authors: Any = SimpleNamespace(card={})
    ours: Any = SimpleNamespace(card={"threshold": 255.0})
    assert [threshold(NegvsrParams(), file) for file in (authors, ours)] == [5.0, 255.0]
    assert threshold(NegvsrParams(threshold=1.5), ours) == 1.5
