"""A model folder through the engines: what comes out, cancelling, going on, targets."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from engines.base import Cancelled, Result, UserError
from engines.quantize.block import Block
from engines.quantize.engine import (
    AdadimEngine,
    AwqEngine,
    BnbEngine,
    FinequantEngine,
    GptqEngine,
    GwqEngine,
    QuantizeEngine,
    RtnEngine,
    VptqEngine,
    ZeroQuantFpEngine,
)
from engines.quantize.folder import open_folder
from engines.quantize.runtime import load_model
from engines.quantize.stream import Stream
from tests.engines.quantize.models import ARCHITECTURES, model
from tests.language_models import write_model

ENGINES: tuple[type[QuantizeEngine], ...] = (
    RtnEngine, AwqEngine, GptqEngine, AdadimEngine, GwqEngine, FinequantEngine, ZeroQuantFpEngine,
    VptqEngine, BnbEngine,
)  # fmt: skip
SMALL: dict[str, Any] = {"samples": 4, "length": 32, "evaluate": 128, "speed": False}


class FolderJob:
    """A job in folders of its own; asks for a stop at the n-th question."""

    device = "cpu"

    def __init__(self, folder: Path, stop_at: int = 10**9) -> None:
        # As in the studio: new for each attempt, while what is kept stays.
        self.workspace = folder / f"workspace-{len(list(folder.glob('workspace-*')))}"
        self._kept = folder / "kept"
        for path in (self.workspace, self._kept):
            path.mkdir(parents=True, exist_ok=True)
        self.reports: list[tuple[float, float, str]] = []
        self._asked, self._stop_at = 0, stop_at

    def progress(self, done: float, total: float, text: str) -> None:
        self.reports.append((done, total, text))

    def check_cancelled(self) -> None:
        self._asked += 1
        if self._asked >= self._stop_at:
            raise Cancelled

    def log(self, text: str) -> None: ...

    def load(self, model_id: str) -> Any:
        raise AssertionError(model_id)

    def resumable(self, key: str) -> Path:
        folder = self._kept / hashlib.sha256(key.encode()).hexdigest()[:16]
        folder.mkdir(exist_ok=True)
        return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny")


def run(engine: type[QuantizeEngine], path: Path, job: FolderJob, **params: Any) -> Result:
    return engine().run([path], engine.Params(**(SMALL | params)), job)


def folder_of(result: Result) -> Path:
    return next(output.path for output in result.outputs if output.primary)


def report_of(result: Result) -> dict[str, Any]:
    path = next(o.path for o in result.outputs if o.path.suffix == ".json")
    return json.loads(path.read_text())


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.id)
def test_what_is_written_is_what_was_measured(
    engine: type[QuantizeEngine], tiny: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in tiny.iterdir()}
    result = run(engine, tiny, FolderJob(tmp_path / "job"))
    assert {path.name: path.read_bytes() for path in tiny.iterdir()} == before
    measured = result.measurements
    assert measured["size_mb"].value < measured["size_original_mb"].value
    assert 2.0 < measured["bits_per_weight"].value < 12.0
    assert math.isfinite(measured["perplexity"].value)
    assert report_of(result)["reload_difference"] < 1e-3
    assert open_folder(folder_of(result)).quantization is not None
    assert load_model(folder_of(result)).tokenizer is not None
    assert {figure.path.name for figure in result.figures} == {"errors.png"}
    assert len(report_of(result)["layers"]) == 14
    assert not any(job_folder.exists() for job_folder in (tmp_path / "job" / "kept").iterdir())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name: str, tmp_path: Path) -> None:
    source = write_model(tmp_path / "tiny")
    for path in ("config.json", "model.safetensors"):
        (source / path).unlink()
    made = model(name)
    made.resize_token_embeddings(300)
    made.save_pretrained(source)
    result = run(GptqEngine, source, FolderJob(tmp_path / "job"), bits=8, group_size=32)
    measured = result.measurements
    ratio = measured["perplexity"].value / measured["perplexity_original"].value
    assert ratio == pytest.approx(1.0, abs=0.05)
    assert report_of(result)["reload_difference"] < 1e-3


def test_the_exported_folder_opens_in_transformers_as_dense(tiny: Path, tmp_path: Path) -> None:
    result = run(RtnEngine, tiny, FolderJob(tmp_path / "job"), export="dense")
    theirs = AutoModelForCausalLM.from_pretrained(folder_of(result), dtype=torch.float32)
    ours = load_model(folder_of(result)).model
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.allclose(theirs(ids).logits, ours(ids).logits, atol=1e-4)


def test_a_killed_run_goes_on_and_ends_the_same(tiny: Path, tmp_path: Path) -> None:
    whole = run(GptqEngine, tiny, FolderJob(tmp_path / "whole"))
    stopped = 0
    for stop_at in range(3, 400, 9):
        job = FolderJob(tmp_path / "cut", stop_at)
        try:
            again = run(GptqEngine, tiny, job)
            break
        except Cancelled:
            stopped += 1
    else:
        raise AssertionError
    assert stopped > 2
    assert report_of(again)["perplexity"] == report_of(whole)["perplexity"]
    first, second = (folder_of(one) / "model.safetensors" for one in (whole, again))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("engine", [AwqEngine, GptqEngine])
def test_the_run_that_looks_at_inputs_is_the_one_that_goes_on(
    engine: type[QuantizeEngine], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    run_apart = Stream.run

    def counted(self: Stream, index: int, *rest: Any) -> Any:
        ran.append(index)
        return run_apart(self, index, *rest)

    monkeypatch.setattr(Stream, "run", counted)
    once = run(engine, tiny, FolderJob(tmp_path / "once"))
    assert ran == [0, 0, 1, 1]  # the text that is judged, through both models
    ran.clear()
    ever = iter(range(10**6))
    monkeypatch.setattr(Block, "_versions", lambda _: (next(ever),))  # as of a block written to
    apart = run(engine, tiny, FolderJob(tmp_path / "apart"))
    assert ran == [0, 0, 0, 1, 1, 1]
    first, second = (folder_of(one) / "model.safetensors" for one in (once, apart))
    assert first.read_bytes() == second.read_bytes()


def test_finished_blocks_are_not_done_again(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.quantize.methods.rtn import Rtn

    done: list[str] = []
    original = Rtn.quantize

    def counted(self: Rtn, block: Any, grids: Any) -> Any:
        done.append(block.name)
        if len(done) == 2:
            raise KeyboardInterrupt  # as sudden as a kill
        return original(self, block, grids)

    monkeypatch.setattr(Rtn, "quantize", counted)
    with pytest.raises(KeyboardInterrupt):
        run(RtnEngine, tiny, FolderJob(tmp_path / "job"))
    run(RtnEngine, tiny, FolderJob(tmp_path / "job"))
    assert done == ["model.layers.0", "model.layers.1", "model.layers.1"]


def test_a_damaged_partial_result_is_done_again(tiny: Path, tmp_path: Path) -> None:
    job = FolderJob(tmp_path / "job", stop_at=24)
    with pytest.raises(Cancelled):
        run(GptqEngine, tiny, job)
    kept = sorted((tmp_path / "job" / "kept").rglob("block-*.safetensors"))
    assert kept
    kept[0].write_bytes(kept[0].read_bytes()[:50])
    result = run(GptqEngine, tiny, FolderJob(tmp_path / "job"))
    assert report_of(result)["reload_difference"] < 1e-3


def test_a_size_is_met(tiny: Path, tmp_path: Path) -> None:
    wanted = 1.0 * (open_folder(tiny).bytes - 4 * 73728) / 1e9 + 73728 * 4.6 / 8e9
    result = run(
        RtnEngine, tiny, FolderJob(tmp_path / "job"), target="size", target_gb=wanted, group_size=32
    )
    assert result.measurements["size_mb"].value <= 1000 * wanted * 1.001
    bits = {round(layer["bits"]) for layer in report_of(result)["layers"]}
    assert len(bits) > 1
    assert [figure.path.name for figure in result.figures] == ["front.png", "errors.png"]
    assert sum(point["chosen"] for point in report_of(result)["front"]) == 1


def test_a_size_that_cannot_be_met(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="raise target_gb"):
        run(RtnEngine, tiny, FolderJob(tmp_path / "job"), target="size", target_gb=1e-6)


def test_a_perplexity_is_met_with_fewer_bits_than_8(tiny: Path, tmp_path: Path) -> None:
    result = run(
        RtnEngine, tiny, FolderJob(tmp_path / "job"), target="perplexity", target_increase=2.0
    )
    measured = result.measurements
    assert measured["perplexity"].value <= 1.02 * measured["perplexity_original"].value
    assert measured["bits_per_weight"].value < 8.0


def test_layers_that_are_to_stay_do(tiny: Path, tmp_path: Path) -> None:
    result = run(RtnEngine, tiny, FolderJob(tmp_path / "job"), skip="o_proj,layers.0.")
    names = {layer["name"] for layer in report_of(result)["layers"]}
    assert len(names) == 6
    assert not any("o_proj" in name or "layers.0." in name for name in names)
    with pytest.raises(UserError, match="name fewer in skip"):
        run(RtnEngine, tiny, FolderJob(tmp_path / "none"), skip="model")


def test_a_format_that_cannot_hold_it_is_refused_before_it_is_written(
    tiny: Path, tmp_path: Path
) -> None:
    job = FolderJob(tmp_path / "job")
    with pytest.raises(UserError, match="3 bits"):
        run(RtnEngine, tiny, job, bits=3, export="awq")
    assert not any("block 2" in text for _, _, text in job.reports)


def test_the_persons_own_text(tiny: Path, tmp_path: Path) -> None:
    text = tmp_path / "own.txt"
    text.write_text("\n\n".join(f"the light of lamp {n} is full of noise" for n in range(200)))
    result = run(AwqEngine, tiny, FolderJob(tmp_path / "job"), calibration=str(text))
    assert folder_of(result).name == "tiny-awq-w4"
    assert str(tmp_path) not in json.dumps(report_of(result))


def test_what_is_quantized_already(tiny: Path, tmp_path: Path) -> None:
    once = run(RtnEngine, tiny, FolderJob(tmp_path / "job"))
    with pytest.raises(UserError, match="quantized already"):
        run(RtnEngine, folder_of(once), FolderJob(tmp_path / "again"))


def test_progress_goes_to_the_end(tiny: Path, tmp_path: Path) -> None:
    job = FolderJob(tmp_path / "job")
    run(RtnEngine, tiny, job)
    assert all(0.0 <= done <= total for done, total, _ in job.reports)
    assert any("block 2 of 2" in text for _, _, text in job.reports)


def test_speed_of_both_is_measured_where_it_is_wanted(tiny: Path, tmp_path: Path) -> None:
    measured = run(RtnEngine, tiny, FolderJob(tmp_path / "job"), speed=True).measurements
    assert measured["tokens_per_second"].value > 0.0
    assert measured["tokens_per_second_original"].value > 0.0
