from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from engines.base import UserError
from engines.quantize.export import Card, Writer, licence_of, traits
from engines.quantize.export.shards import ShardWriter
from engines.quantize.folder import INDEX, open_folder
from engines.quantize.runtime import load_model
from tests.engines.quantize.exported import card, export, grouped, logits
from tests.engines.quantize.models import model

LAYER = grouped(4, 32)("", torch.randn(64, 64))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    model("llama").save_pretrained(path)
    return path


# shards


def test_a_shard_is_what_safetensors_writes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {
        "odd": torch.randint(0, 255, (7,), dtype=torch.uint8),
        "wide": torch.randn(3, 5, dtype=torch.float64),
        "half": torch.randn(3).half(),
        "shape": torch.tensor([3, 5]),
        "turned": torch.randn(4, 6).T,
        "small": torch.randn(2, 2).to(torch.float8_e4m3fn),
        "one": torch.tensor(3, dtype=torch.int16),
        "none": torch.empty(0, 4),
        "b": torch.randn(9).bfloat16(),
    }
    shards = ShardWriter(tmp_path, 10**9)
    for name, value in tensors.items():
        shards.add(name, value)
    shards.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        assert found[name].flatten().view(torch.uint8).tolist() == (
            value.flatten().view(torch.uint8).tolist()
        )
    assert shards.bytes == sum(value.nbytes for value in tensors.values())


def test_shards_hold_no_more_than_they_may(tmp_path: Path) -> None:
    made = export(tmp_path, "llama", "studio", grouped(4, 32), shard_bytes=9000)
    names = sorted(path.name for path in made.folder.glob("*.safetensors"))
    count = len(names)
    assert count > 3
    assert names[0] == f"model-00001-of-{count:05d}.safetensors"
    index = json.loads((made.folder / INDEX).read_text())
    seen = {}
    for name in names:
        with safe_open(made.folder / name, framework="pt") as shard:
            held = {key: shard.get_tensor(key) for key in shard.keys()}  # noqa: SIM118
        assert len(held) == 1 or sum(value.nbytes for value in held.values()) <= 9000
        seen |= dict.fromkeys(held, name)
    assert index["weight_map"] == seen
    assert not list(made.folder.glob("*.part"))
    found = logits(load_model(made.folder).model)
    assert torch.allclose(found, made.logits, atol=1e-5)


def test_what_fails_leaves_no_partial_files(tmp_path: Path, source: Path) -> None:
    (tmp_path / "made").mkdir()
    layers = {"a": traits(LAYER)}

    def stop() -> None:
        with Writer(
            tmp_path / "made", "studio", open_folder(source), layers, shard_bytes=10
        ) as writer:
            writer.add("a", LAYER)
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stop()
    assert not list((tmp_path / "made").iterdir())


def test_all_that_was_announced_has_to_come_and_once(tmp_path: Path, source: Path) -> None:
    (tmp_path / "made").mkdir()
    layers = {"a": traits(LAYER), "b": traits(LAYER)}
    with Writer(tmp_path / "made", "studio", open_folder(source), layers) as writer:
        writer.add("a", LAYER)
        with pytest.raises(ValueError, match="b was never written"):
            writer.finish(card(["a", "b"]))
        writer.add_plain("x", torch.zeros(2))
        with pytest.raises(ValueError, match="x is written twice"):
            writer.add_plain("x", torch.zeros(2))


def test_a_format_refuses_before_anything_is_written(tmp_path: Path, source: Path) -> None:
    (tmp_path / "made").mkdir()
    three = grouped(3, 32)("", torch.randn(64, 64))
    with pytest.raises(UserError, match=r"AWQ cannot hold b: it has 3 bits, and AWQ's are 4"):
        Writer(
            tmp_path / "made", "awq", open_folder(source), {"a": traits(LAYER), "b": traits(three)}
        )
    assert not list((tmp_path / "made").iterdir())


# what is beside the weights


def test_vectors_that_16_bits_would_change_stay_wide(tmp_path: Path) -> None:
    source = tmp_path / "source"
    whole = model("llama")
    cast("torch.nn.Module", whole).to(torch.bfloat16)
    whole.save_pretrained(source)
    (tmp_path / "made").mkdir()
    exact, folded = torch.tensor([1.0, 0.5]), torch.tensor([1.0, 1 / 3])
    matrix = torch.randn(4, 4)
    with Writer(tmp_path / "made", "studio", open_folder(source), {"a": traits(LAYER)}) as writer:
        writer.add("a", LAYER)
        writer.add_plain("exact", exact)
        writer.add_plain("folded", folded)
        writer.add_plain("matrix", matrix)
        writer.finish(card(["a"]))
    found = load_file(tmp_path / "made" / "model.safetensors")
    assert found["exact"].dtype == torch.bfloat16
    assert torch.equal(found["folded"], folded)
    assert torch.equal(found["matrix"], matrix.bfloat16())


def test_tokenizer_and_licence_come_along_and_code_does_not(tmp_path: Path, source: Path) -> None:
    kept = ("tokenizer.json", "tokenizer_config.json", "merges.txt", "chat_template.jinja")
    for name in (*kept, "LICENSE", "modeling_x.py", "pytorch_model.bin", "optimizer.pt"):
        (source / name).write_text(name)
    (source / "README.md").write_text("---\nlanguage: en\nlicense: 'apache-2.0'\n---\n# Model\n")
    made = tmp_path / "made"
    made.mkdir()
    folder = open_folder(source)
    assert licence_of(folder) == "apache-2.0"
    with Writer(made, "gptq", folder, {"a.b": traits(LAYER)}, method="gptq") as writer:
        writer.add("a.b", LAYER)
        writer.finish(card(["a.b"]))
    names = {path.name for path in made.iterdir()}
    assert {*kept, "LICENSE", "README.md", "config.json", "generation_config.json"} <= names
    assert not names & {"modeling_x.py", "pytorch_model.bin", "optimizer.pt"}
    text = (made / "README.md").read_text()
    assert text.startswith("---\nlicense: apache-2.0\n")
    assert "| a.b | 4.25 | 1.23% |" in text
    assert "15.2 (original 13.3)" in text
    assert "pip install transformers optimum gptqmodel" in text
    config = json.loads((made / "config.json").read_text())
    assert config["dtype"] == "float16"  # its kernels compute in 16 bits
    assert config["quantization_config"]["quant_method"] == "gptq"
    assert config["hidden_size"] == 64


def test_a_card_names_no_licence_that_nobody_named(tmp_path: Path, source: Path) -> None:
    (tmp_path / "made").mkdir()
    with Writer(tmp_path / "made", "studio", open_folder(source), {"a": traits(LAYER)}) as writer:
        writer.add("a", LAYER)
        writer.finish(Card("tiny", "GWQ", {}, {}, []))
    text = (tmp_path / "made" / "README.md").read_text()
    assert "license:" not in text
    assert "not named by the source" in text
    assert "transformers_plugin" in text
