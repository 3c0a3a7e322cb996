"""A diffusion folder through the engines: what comes out, cancelling, going on, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engines.base import Cancelled, Result, UserError
from engines.quantize.diffusion.engine import DiffusionEngine, EfficientDmEngine, Ptq4dmEngine
from engines.quantize.diffusion.export import WEIGHTS
from engines.quantize.diffusion.folder import diffusion_facts, open_diffusion
from engines.quantize.diffusion.load import load_diffusion
from engines.quantize.folder import model_facts, open_folder
from tests.diffusion_models import network, write_pipeline, write_text_pipeline
from tests.engines.quantize.test_process import FolderJob
from tests.language_models import write_model

SMALL: dict[str, Any] = {"samples": 8, "steps": 3, "pictures": 2}
ENGINES: tuple[tuple[type[DiffusionEngine], dict[str, Any]], ...] = (
    (Ptq4dmEngine, {"iterations": 2}),
    (EfficientDmEngine, {"iterations": 2, "batch": 1, "rank": 2}),
)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pipeline(tmp_path_factory.mktemp("models") / "tiny")


def _run(engine: type[DiffusionEngine], model: Path, job: FolderJob, **params: Any) -> Result:
    return engine().run([model], engine.Params(**(SMALL | params)), job)


@pytest.mark.parametrize(("engine", "params"), ENGINES)
def test_what_comes_out_can_be_sampled_from(
    engine: type[DiffusionEngine], params: dict[str, Any], pipeline: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in pipeline.rglob("*") if path.is_file()}
    job = FolderJob(tmp_path)
    result = _run(engine, pipeline, job, **params)
    assert {path: path.read_bytes() for path in before} == before
    made = result.outputs[0].path
    assert made.name == f"tiny-{engine.id.rpartition('.')[2]}-w4a8"
    loaded = load_diffusion(made)
    pictures = loaded.sample(2, steps=3, seed=5)
    assert pictures.shape == (2, 3, 8, 8)
    alone = loaded.sample(1, steps=3, seed=6)  # a seed a picture
    assert float((pictures[1:] - alone).abs().mean()) < 0.02
    config = json.loads((made / "unet" / "config.json").read_text())
    layers = config["quantization_config"]["layers"]
    learned = layers["down_blocks.0.resnets.0.conv1"]
    assert (learned["bits"], learned["activation_bits"]) == (4, 8)
    assert layers["conv_in"]["bits"] == layers["conv_out"]["bits"] == 8
    assert config["quantization_config"]["timesteps"] == [666, 333, 0]
    kept = load_file(made / "unet" / WEIGHTS)
    steps = 3 if engine is EfficientDmEngine else 1
    assert kept["down_blocks.0.resnets.0.conv1.input_scale"].shape == (steps,)
    report = json.loads(result.outputs[1].path.read_text())
    assert [layer["name"] for layer in report["layers"]][-1] == "conv_out"
    assert len(report["steps"]) == 3
    assert 0 < result.measurements["noise_error"].value < 0.5
    size, original = (result.measurements[k].value for k in ("size_mb", "size_original_mb"))
    assert size < 0.4 * original
    for figure in (*result.figures, *((c.before, c.after) for c in result.comparisons)):
        paths = figure if isinstance(figure, tuple) else (figure.path,)
        assert all(path.is_file() for path in paths)
    shares = [done for done, _, _ in job.reports]
    assert shares == sorted(shares)
    assert list((tmp_path / "kept").iterdir()) == [] if (tmp_path / "kept").exists() else True
    with pytest.raises(UserError, match="quantized already"):
        _run(engine, made, FolderJob(tmp_path / "again"), **params)


def test_dense_is_what_diffusers_loads(pipeline: Path, tmp_path: Path) -> None:
    from diffusers.models.unets.unet_2d import UNet2DModel

    result = _run(
        Ptq4dmEngine, pipeline, FolderJob(tmp_path), iterations=0, export="dense",
        activation_bits=16,
    )  # fmt: skip
    made: Any = UNet2DModel
    loaded = made.from_pretrained(result.outputs[0].path, subfolder="unet")
    values = loaded.down_blocks[0].resnets[0].conv1.weight[0].detach().unique()
    assert len(values) <= 16
    assert "quantization_config" not in loaded.config
    assert not result.notes


@pytest.mark.parametrize(("engine", "params"), ENGINES)
def test_a_stopped_run_goes_on_and_ends_alike(
    engine: type[DiffusionEngine], params: dict[str, Any], pipeline: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("engines.quantize.diffusion.process._ASK_EVERY", 0.0)
    whole = FolderJob(tmp_path / "whole")
    wanted = _run(engine, pipeline, whole, **params).outputs[0].path
    folder = tmp_path / "stopped"
    stopped = FolderJob(folder, stop_at=int(0.7 * whole._asked))
    with pytest.raises(Cancelled):
        _run(engine, pipeline, stopped, **params)
    assert list(stopped.workspace.iterdir()) == []
    second = FolderJob(folder)
    found = _run(engine, pipeline, second, **params).outputs[0].path
    assert second._asked < 0.9 * whole._asked
    ones, others = (load_file(path / "unet" / WEIGHTS) for path in (wanted, found))
    assert ones.keys() == others.keys()
    assert all(torch.equal(value, others[name]) for name, value in ones.items())


def test_a_network_alone_is_a_model_as_well(tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    network().save_pretrained(alone)
    result = _run(Ptq4dmEngine, alone, FolderJob(tmp_path / "job"), iterations=0)
    made = result.outputs[0].path
    assert (made / "config.json").is_file()
    assert load_diffusion(made).sample(1, steps=2).shape == (1, 3, 8, 8)
    assert diffusion_facts(made)[-1] == "quantized (ptq4dm)"


def test_classes_are_drawn(tmp_path: Path) -> None:
    model = write_pipeline(tmp_path / "classes", num_class_embeds=5)
    result = _run(EfficientDmEngine, model, FolderJob(tmp_path / "job"), iterations=1, batch=2)
    assert load_diffusion(result.outputs[0].path).sample(1, steps=2).shape == (1, 3, 8, 8)


def test_pictures_of_texts_are_guided_and_decoded(tmp_path: Path) -> None:
    model = write_text_pipeline(tmp_path / "text")
    with pytest.raises(UserError, match="name one or more in prompts"):
        _run(Ptq4dmEngine, model, FolderJob(tmp_path / "none"))
    for engine, params in ENGINES:
        told = params | {"prompts": ("a dark room", "light"), "guidance": 3.0}
        result = _run(engine, model, FolderJob(tmp_path / engine.id), **told)
        made = result.outputs[0].path
        assert (made / "vae" / "config.json").is_file()
        loaded = load_diffusion(made)
        assert loaded.sample(1, steps=2, prompts=["light"]).shape == (1, 3, 8, 8)


def test_the_names_of_the_first_releases_are_known(pipeline: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for name in ("config.json", WEIGHTS):
        shutil.copyfile(pipeline / "unet" / name, old / name)
    (old / "model_index.json").write_text('{"_class_name": "DDPMPipeline", "unet": []}')
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(old / WEIGHTS)
    for now, before in new.items():
        tensors = {k.replace(f".{now}.", f".{before}."): v for k, v in tensors.items()}
    save_file(tensors, old / WEIGHTS, {"format": "pt"})
    one, other = (load_diffusion(path).sample(1, steps=2) for path in (pipeline, old))
    assert torch.equal(one, other)


def test_what_is_written_is_held_against_what_was_measured(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.quantize.diffusion import export

    write = export.save_tensors

    def damaged(path: Path, tensors: Any, metadata: Any) -> None:
        name = "mid_block.resnets.0.conv1.scale"
        write(path, {**tensors, name: 2 * tensors[name]}, metadata)

    monkeypatch.setattr(export, "save_tensors", damaged)
    with pytest.raises(UserError, match="differs from the one that was measured"):
        _run(Ptq4dmEngine, pipeline, FolderJob(tmp_path), iterations=0)


def test_each_kind_of_model_is_sent_to_its_methods(pipeline: Path, tmp_path: Path) -> None:
    speaking = write_model(tmp_path / "speaking")
    with pytest.raises(UserError, match=r"is a language model, .* choose AWQ"):
        open_diffusion(speaking)
    for folder in (pipeline, pipeline / "unet"):
        with pytest.raises(UserError, match=r"is a diffusion model, .* choose PTQ4DM"):
            open_folder(folder)
        with pytest.raises(UserError, match="is a diffusion model"):
            model_facts(folder)
    facts = diffusion_facts(pipeline)
    assert facts[:2] == ("DDPM", "UNet2DModel")
    assert "8 x 8 x 3" in facts


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unet/config.json": {"_class_name": "FluxTransformer2DModel"}}, "only UNet2DModel"),
        ({"unet/config.json": {"out_channels": 5}}, "needs more than noise"),
        ({"unet/config.json": {"block_out_channels": [16]}}, "cannot be made from its config"),
        ({"unet/config.json": {"block_out_channels": [16, 28]}}, "asks for"),
        ({"scheduler/scheduler_config.json": {"prediction_type": "flow"}}, "have betas"),
        ({"scheduler/scheduler_config.json": {"num_train_timesteps": -4}}, "not what it should"),
        ({"model_index.json": None}, "no model_index.json"),
        ({"unet/config.json": None}, "no config.json"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    model = write_pipeline(tmp_path / "tiny")
    for name, values in change.items():
        path = model / name
        if values is None:
            path.unlink()
        else:
            path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(UserError, match=said) as found:
        _run(Ptq4dmEngine, model, FolderJob(tmp_path / "job"), iterations=0)
    assert "\n" not in str(found.value)


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    model = write_pipeline(tmp_path / "tiny")
    (model / "unet" / WEIGHTS).rename(model / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match="pickled"):
        _run(Ptq4dmEngine, model, FolderJob(tmp_path / "job"))
