"""The quantization tab: what it says of models and of what they lost, and what it offers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from engines import registry
from engines.base import (
    Figure,
    Job,
    Measurement,
    MediaKind,
    Output,
    Params,
    Result,
    UserError,
    option,
)
from studio import language
from studio.actions import Actions
from studio.checks import Checks
from studio.config import LOCAL
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from studio.library.cards import side_by_side
from studio.markup import render
from studio.model_facts import model_facts
from studio.panels.files import FilesPanel, Offer
from studio.panels.models import ModelsPanel
from studio.panels.result import ResultPanel
from studio.reader import Look
from studio.scene import View
from studio.snippets import diffusion_snippet, snippet
from studio.tabs.quantize import QuantizeTab, chats, verdict
from tests.language_models import write_model, zipped
from tests.studio.scenes import inbox_of, scene_of

TAB = "quantization"
MEASURED = {
    "perplexity": 10.5, "perplexity_original": 10.0, "size_mb": 80.0, "size_original_mb": 320.0,
    "tokens_per_second": 40.0, "tokens_per_second_original": 16.0, "bits_per_weight": 4.156,
}  # fmt: skip


class ShrinkParams(Params):
    """As the real ones, in small."""

    calibration: str = option("", title="Text", description="A path", local=True, advanced=True)
    target_gb: float | None = option(None, title="Size at most", description="Of all", gt=0)
    target: str = option("bits", title="Aim at", description="Bits or size")
    bits: int = option(4, title="Bits", description="Of a code", ge=2, le=8)
    loss: float = option(5.0, title="Loss", description="Of perplexity", unit="%")


class ShrinkEngine:
    """Writes a folder that claims to be a smaller model."""

    id: ClassVar[str] = "quantize.shrink"
    title: ClassVar[str] = "Shrink"
    tab: ClassVar[str] = "Quantization"
    summary: ClassVar[str] = "For tests of the tab"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("model",)
    suffixes: ClassVar[tuple[str, ...]] = (".zip",)
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = ShrinkParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`."""
        made = job.workspace / f"{inputs[0].name}-w{params.bits}"
        made.mkdir()
        config = {"quantization_config": {"quant_method": "compressed-tensors"}}
        (made / "config.json").write_text(json.dumps(config))
        (made / "chat_template.jinja").write_text("")
        report = job.workspace / f"{made.name}.report.json"
        layers = [{"name": "model.<b>.q_proj", "bits": 4.25, "error": 0.00123, "weights": 9}]
        report.write_text(json.dumps({"layers": layers}))
        chart = job.workspace / "errors.png"
        Image.new("L", (4, 3), 255).save(chart)
        measured = {**MEASURED, "perplexity": 10.0 * (1 + params.loss / 100)}
        return Result(
            [
                Output(made, "model", "quantized model", primary=True),
                Output(report, "document", "report (JSON)"),
            ],
            {name: Measurement(value) for name, value in measured.items()},
            [Figure(chart, "Errors", "the largest is in q_proj", chart=True)],
        )


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Panels make their components inside a page; the engine for tests is known."""
    monkeypatch.setattr("engines.registry._added", {})
    registry.register(ShrinkEngine.id, f"{__name__}:ShrinkEngine")
    with gr.Blocks():
        yield


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that is a model by its looks."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def tab(studio: Studio) -> QuantizeTab:
    tab = QuantizeTab("Quantization", [ShrinkEngine])
    tab.build(studio, inbox_of(studio), lambda network: [])
    return tab


def _run(studio: Studio, model: Path, **params: Any) -> JobView:
    session = studio.open_session(LOCAL).id
    ids = studio.submit(LOCAL, session, ShrinkEngine.id, [[model]], params)
    [job] = studio.wait(LOCAL, ids, poll=0.01)
    assert job.state == "done", job.error
    return job


def _html(tab: QuantizeTab, studio: Studio, job: JobView) -> str:
    view = View(tab=TAB, open={TAB: job.id})
    return (
        ResultPanel(TAB, ("", ""), tab.read, more=tab.more).html(scene_of(studio, view=view)) or ""
    )


def _text(html: str) -> str:
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", html).split()))


def test_before_and_after_are_said_in_numbers_and_a_sentence(
    tab: QuantizeTab, studio: Studio, model: Path
) -> None:
    text = _text(_html(tab, studio, _run(studio, model)))
    for words in (
        "Perplexity 10 → 10.5", "Size 320 → 80", "Speed 16 → 40", "Bits a weight 4.16",
        "It takes 25 % of the space. Perplexity on held-out text rises by 5 %",
    ):  # fmt: skip
        assert words in text, text


@pytest.mark.parametrize(
    ("loss", "said", "tone"),
    [
        (-1.0, "falls by 1 %: answers should read", "sure"),
        (0.001, "stays as it was: answers should read", "sure"),
        (12.34, "rises by 12.3 %: a loss that can be noticed", "sure"),
        (80.0, "rises by 80 %: the model is damaged", "doubt"),
    ],
)
def test_the_loss_in_words(loss: float, said: str, tone: str) -> None:
    found = verdict({"perplexity": (10 + loss / 10, ""), "perplexity_original": (10.0, "")})
    assert found is not None
    assert said in found.text
    assert found.tone == tone
    assert "space" not in found.text


def test_without_a_measurement_nothing_is_claimed(tab: QuantizeTab) -> None:
    assert verdict({"perplexity": (10.0, "")}) is None
    assert verdict({}) is None
    assert tab.read({"something": (1.0, "")}).headline == ()


def test_a_result_is_asked_loaded_compared_and_downloaded(
    tab: QuantizeTab, studio: Studio, model: Path
) -> None:
    worse = _run(studio, model, loss=20.0, bits=3)
    job = _run(studio, model)
    html = _html(tab, studio, job)
    asks = f'<ns-ask job="{job.id}" original="tiny" quantized="Shrink" chat></ns-ask>'
    assert asks in html
    assert f'href="studio/zip/folder/{job.outputs[0].id}" download="tiny-w4.zip"' in html
    assert f'data-copy="{job.outputs[0].path}"' in html
    assert "pip install transformers compressed-tensors" in html
    assert f"folder = &#39;{job.outputs[0].path}&#39;" in html
    text = _text(html)
    assert "1 layer" in text
    assert "model.<b>.q_proj 4.25 0.00123" in text
    # The original, then the results of this model by their perplexity; others lead to theirs.
    rows = (
        "Original",
        "10 320 16",
        "Shrink compressed-tensors",
        "10.5 80 40",
        "Shrink",
        "12 80 40",
    )
    assert re.search(".*".join(map(re.escape, rows)), text)
    assert f'data-do="open" data-key="{worse.id}"' in html
    assert f'data-do="open" data-key="{job.id}"' not in html


def test_what_is_gone_is_neither_asked_nor_loaded(
    tab: QuantizeTab, studio: Studio, model: Path
) -> None:
    job = _run(studio, model)
    (model / "config.json").unlink()
    model.rmdir()
    assert 'original=""' in _html(tab, studio, job)
    for path in (job.outputs[0].path / "config.json", job.outputs[0].path / "chat_template.jinja"):
        path.unlink()
    job.outputs[0].path.rmdir()
    html = _html(tab, studio, job)
    assert "ns-ask" not in html
    assert "pip install" not in html
    assert "was moved or deleted" in html


@pytest.mark.parametrize("content", ["", "[]", '{"layers": [{}]}', '{"layers": 3}'])
def test_a_report_that_is_none_hides_nothing_else(
    tab: QuantizeTab, studio: Studio, model: Path, content: str
) -> None:
    job = _run(studio, model)
    job.outputs[1].path.write_text(content)
    html = _html(tab, studio, job)
    assert "ns-layers" not in html
    assert "ns-ask" in html


def test_nobody_else_is_told_a_path(shared: Studio, model: Path) -> None:
    tab = QuantizeTab("Quantization", [ShrinkEngine])
    tab.build(shared, inbox_of(shared), lambda network: [])
    html = _html(tab, shared, _run(shared, model))
    assert str(shared.settings.home) not in html
    assert "folder = &#39;tiny-w4&#39;" in html


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("compressed-tensors", "AutoModelForCausalLM.from_pretrained(folder)"),
        ("awq", "AutoModelForCausalLM"),
        ("", "AutoModelForCausalLM"),
        ("noise-studio", "load_model(Path('a folder'))"),
        ("unheard-of", "load_model"),
    ],
)
def test_snippets_are_python(method: str, words: str) -> None:
    found = snippet(method, "a folder")
    compile(found.code, "snippet", "exec")
    assert words in found.code
    assert found.needs


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"chat_template.jinja": ""}, True),
        ({"tokenizer_config.json": '{"chat_template": "x"}'}, True),
        ({"tokenizer_config.json": "{}"}, False),
        ({"tokenizer_config.json": "{"}, False),
        ({}, False),
    ],
)
def test_whether_a_model_chats(model: Path, files: dict[str, str], found: bool) -> None:
    for name, content in files.items():
        (model / name).write_text(content)
    assert chats(model) is found


# Files


def test_a_model_is_told_as_a_folder_and_as_a_zip(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "tiny-llama")
    facts = model_facts(folder)
    assert facts[0] == "Llama"
    assert "2 layers" in facts
    assert model_facts(zipped(folder, tmp_path / "tiny.zip", inside="a/b")) == facts


def _pipeline(folder: Path) -> Path:
    """A diffusion pipeline by its files; one tensor is all of its network."""
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "DDPMPipeline", "unet": []}')
    config = {"_class_name": "UNet2DModel", "sample_size": 16, "in_channels": 3}
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    tensors = {"conv_in.weight": torch.zeros(10, 100)}
    save_file(tensors, folder / "unet" / "diffusion_pytorch_model.safetensors")
    return folder


def test_a_diffusion_model_is_recognised_as_a_folder_and_as_a_zip(tmp_path: Path) -> None:
    folder = _pipeline(tmp_path / "ddpm")
    facts = ("DDPM", "UNet2DModel", "0.001 M weights", "16 x 16 x 3", "0.004 MB", "diffusion")
    assert model_facts(folder) == facts
    assert model_facts(zipped(folder, tmp_path / "ddpm.zip", inside="a/b")) == facts
    assert model_facts(folder / "unet")[0] == "Network alone"


def test_a_diffusion_model_is_offered_where_one_ships(
    tab: QuantizeTab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(language, "BUNDLED", tmp_path / "language")
    _pipeline(tmp_path / "diffusion" / "ddpm-small")
    assert [offer.key for offer in tab.offers()] == ["ddpm-small"]


def test_what_a_diffusion_model_lost_is_told_and_nobody_asks_it(
    tab: QuantizeTab, studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = {
        "noise_error": (0.01234, ""), "size_mb": (1.0, "MB"), "size_original_mb": (7.2, "MB"),
        "bits_per_weight": (4.18, "bit"), "noise_error_last_step": (0.05, ""),
    }  # fmt: skip
    reading = tab.read(measured)
    assert [row.name for row in reading.headline] == [
        "Error of the predicted noise", "Size", "Bits a weight",
    ]  # fmt: skip
    assert (reading.headline[0].value, reading.headline[0].unit) == (1.23, "%")
    assert reading.verdict is None

    def run(self: ShrinkEngine, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        made = _pipeline(job.workspace / "small")
        config = json.loads((made / "unet" / "config.json").read_text())
        config["quantization_config"] = {"quant_method": "noise-studio"}
        (made / "unet" / "config.json").write_text(json.dumps(config))
        measurements = {name: Measurement(value, unit) for name, (value, unit) in measured.items()}
        return Result([Output(made, "model", "quantized model", primary=True)], measurements)

    monkeypatch.setattr(ShrinkEngine, "run", run)
    job = _run(studio, _pipeline(tmp_path / "ddpm"))
    html = _html(tab, studio, job)
    assert "<ns-ask" not in html
    text = _text(html)
    assert "load_diffusion" in text
    assert "Error of the noise" in text
    assert "Perplexity" not in text


@pytest.mark.parametrize("coded", [True, False])
def test_snippets_for_pictures_are_python(coded: bool) -> None:
    found = diffusion_snippet("DDPMPipeline", "/models/it's", coded=coded)
    compile(found.code, "snippet", "exec")
    assert ("DDPMPipeline" in found.code) is not coded


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_what_cannot_be_used_says_why(tmp_path: Path, model: Path, packed: bool) -> None:
    (model / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="pickled"):
        model_facts(zipped(model, tmp_path / "tiny.zip") if packed else model)


def test_a_file_that_is_no_zip_says_so(tmp_path: Path, tab: QuantizeTab) -> None:
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match="is no zip that can be read"):
        model_facts(tmp_path / "a.zip")
    assert (
        tab.look(tmp_path / "a.txt").problem == "This is no model; drop a zip of a model's folder"
    )


def test_known_models_are_offered_chosen_and_listed(
    tab: QuantizeTab, studio: Studio, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(language, "BUNDLED", tmp_path / "none")
    assert tab.offers() == []
    folder = language.pulled_folder(studio.settings)
    folder.mkdir(parents=True)
    model.rename(folder / "smollm2")
    (folder / "smollm2" / "studio.json").write_text('{"title": "Smol <LM>", "licence": "MIT"}')
    assert tab.offers() == [Offer("smollm2", "smollm2", "Smol <LM>, 42 bytes")]
    scene = scene_of(studio, view=View(tab=TAB))
    inbox = inbox_of(studio)
    panel = FilesPanel(TAB, inbox, lambda path: Look(("Llama",)), offers=tab.offers, noun="model")
    assert 'data-do="known" data-tab="quantization" data-key="smollm2"' in (panel.html(scene) or "")
    actions = Actions(studio, inbox, {})
    actions.do({"do": "known", "key": "smollm2", "tab": TAB}, scene)
    actions.do({"do": "known", "key": "smollm2", "tab": TAB}, scene)
    [chosen] = inbox.files(scene.session.id, TAB)
    assert (chosen.path, chosen.bytes, chosen.upload) == (folder / "smollm2", 42, False)
    html = panel.html(scene) or ""
    assert "1 model" in html
    assert 'data-do="known"' not in html
    with pytest.raises(UserError, match="no longer there"):
        actions.do({"do": "known", "key": "other", "tab": TAB}, scene)

    settings = studio.settings
    models = ModelsPanel(studio, Checks(settings))
    shown = _text(models.html(scene_of(studio, view=View(tab="models"))) or "")
    assert "Smol <LM> pulled" in shown
    actions.do({"do": "remove-model", "key": "smollm2"}, scene)
    assert tab.offers() == []
    assert inbox.files(scene.session.id, TAB) == []


def test_two_reports_stand_beside_one_another(studio: Studio, model: Path) -> None:
    first, second = (_run(studio, model, bits=bits) for bits in (4, 3))
    report = next(one.path for one in second.outputs if one.name.endswith("report.json"))
    layers = [
        {"name": "model.<b>.q_proj", "bits": 3.25, "error": 0.004},
        {"name": "model.1.q_proj", "bits": 3.75, "error": 0.002},
    ]
    report.write_text(json.dumps({"layers": layers}))
    found = side_by_side(first, second)
    assert found["names"] == ("Bits 4", "Bits 3")
    shown = found["reports"]
    assert shown.said == "1 of 1 layers lose less in Bits 4, 0 of 1 layers lose less in Bits 3"
    assert shown.parts == [("q_proj", "4.25", "0.00123", "3.50", "0.003")]
    assert shown.layers[1] == ("model.1.q_proj", "\N{EN DASH}", "\N{EN DASH}", "3.75", "0.002")
    [(title, sides)] = found["figures"]
    assert title == "Errors"
    assert [side[1:] for side in sides if side] == [("the largest is in q_proj", True)] * 2
    html = _text(render("beside.html", **found))
    assert "Part Bits 4, bits Error Bits 3, bits Error q_proj 4.25 0.00123 3.50 0.003" in html
    assert "model.<b>.q_proj" in html
    report.write_text("no report")
    assert side_by_side(first, second)["reports"] is None


# Form


def test_settings_come_in_the_order_that_matters_and_when_they_mean_something(
    tab: QuantizeTab,
) -> None:
    [one] = tab.forms
    assert one.form.names == ["bits", "target", "target_gb", "calibration", "loss"]
    shown = dict(
        zip(one.form.names, [control.visible for control in one.form.controls], strict=True)
    )
    assert shown == {
        "bits": True, "target": True, "target_gb": False, "calibration": True, "loss": True,
    }  # fmt: skip
    values = tab.chosen_params(ShrinkEngine.id, [4, "size", "", "", 5.0])
    assert values["target"] == "size"


def test_strangers_see_no_setting_of_this_machine(studio: Studio) -> None:
    tab = QuantizeTab("Quantization", [ShrinkEngine])
    open_to_all = Studio(replace(studio.settings, space=True))
    tab.build(open_to_all, inbox_of(studio), lambda network: [])
    [one] = tab.forms
    control = one.form.controls[one.form.names.index("calibration")]
    assert control.visible is False
    kept = {"calibration": "/etc/passwd", "bits": 3}
    assert one.form.values(kept) == [3, "bits", "", "", 5.0]
    assert one.form.restored(kept) == [3, "bits", "", "", 5.0]


def test_awq_comes_first() -> None:
    awq = type("Awq", (ShrinkEngine,), {"id": "quantize.awq"})
    tab = QuantizeTab("Quantization", [ShrinkEngine, awq])
    assert [engine.id for engine in tab.engines] == ["quantize.awq", "quantize.shrink"]
