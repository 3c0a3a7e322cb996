"""Folders, the model without weights, streams and gradients, on every architecture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from engines.base import UserError
from engines.quantize.folder import model_facts, open_folder
from engines.quantize.gradients import found_for, sweep
from engines.quantize.skeleton import Skeleton
from engines.quantize.stream import Stream
from engines.quantize.text import read_text, shuffled_windows, straight_windows, tokenizer_of
from tests.engines.quantize.models import ARCHITECTURES, VOCABULARY, model
from tests.language_models import write_model


def saved(name: str, folder: Path) -> PreTrainedModel:
    made = model(name)
    made.save_pretrained(folder)
    return made


def tokens(windows: int = 3, length: int = 24) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(VOCABULARY, (windows, length), generator=generator)


def still(*_: object) -> None: ...


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_block_by_block_it_says_what_the_whole_model_says(name: str, tmp_path: Path) -> None:
    made = saved(name, tmp_path)
    skeleton = Skeleton(open_folder(tmp_path))
    skeleton.load_outside()
    skeleton.load(skeleton.blocks[0])
    stream = Stream(skeleton, tokens(), tmp_path, "s")
    for index, block in enumerate(skeleton.blocks):
        skeleton.load(block)
        stream.run(index, skeleton.block(index), still)
        stream.step()
        skeleton.drop(block)
    with torch.no_grad():
        expected = made(input_ids=tokens()).logits
        got = torch.stack(
            [
                stream.logits(row, hidden)
                for row, hidden in zip(tokens(), stream.states, strict=True)
            ]
        )
    assert torch.allclose(got, expected, atol=1e-5)
    assert all(parameter.is_meta for parameter in skeleton.block(0).parameters())


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt-neox", "opt"])
def test_gradients_are_those_of_the_whole_model(name: str, tmp_path: Path) -> None:
    made = saved(name, tmp_path)
    skeleton = Skeleton(open_folder(tmp_path))
    sweep(skeleton, tokens(), tmp_path, "gradients", lambda _p, _w, x, g: g.T @ x, still, still)
    for parameter in made.parameters():
        parameter.requires_grad_(True)
    logits = made(input_ids=tokens()).logits
    nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), tokens()[:, 1:].flatten(), reduction="sum"
    ).backward()
    for index, block in enumerate(skeleton.blocks):
        found = found_for(tmp_path, index)
        assert set(found) == set(skeleton.linears(index))
        for path, gradient in found.items():
            expected = made.get_submodule(f"{block}.{path}").weight.grad
            assert isinstance(expected, Tensor)
            expected = expected.T if skeleton.is_conv1d(f"{block}.{path}") else expected
            assert torch.allclose(gradient, expected, atol=1e-3 * float(expected.abs().max()))


def test_a_sweep_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    saved("llama", tmp_path)
    skeleton = Skeleton(open_folder(tmp_path))
    sweep(skeleton, tokens(), tmp_path, "g", lambda _p, _w, x, g: g.T @ x, still, still)

    def never(*_: object) -> Tensor:
        raise AssertionError

    sweep(skeleton, tokens(), tmp_path, "g", never, still, still)


def test_facts_of_a_folder(tmp_path: Path) -> None:
    saved("llama", tmp_path)
    facts = model_facts(tmp_path)
    assert facts[0] == "Llama"
    assert "2 layers" in facts
    assert "float32" in facts


def test_no_folder_no_config_no_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        open_folder(tmp_path / "absent")
    with pytest.raises(UserError, match=r"no config\.json"):
        open_folder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"no \.safetensors files"):
        open_folder(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match="are pickled"):
        open_folder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        open_folder(tmp_path)


def test_code_of_the_models_own_is_refused(tmp_path: Path) -> None:
    saved("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling.Evil"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="code of its own"):
        open_folder(tmp_path)


def test_a_shard_that_ends_early(tmp_path: Path) -> None:
    saved("llama", tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged or ends early"):
        open_folder(tmp_path)


def test_a_shard_that_is_missing(tmp_path: Path) -> None:
    model("llama").save_pretrained(tmp_path, max_shard_size="100KB")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    gone = sorted(set(index["weight_map"].values()))[-1]
    (tmp_path / gone).unlink()
    with pytest.raises(UserError, match=f"{gone} .* is missing"):
        open_folder(tmp_path)


def test_a_tensor_that_is_missing_or_of_another_shape(tmp_path: Path) -> None:
    saved("llama", tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    name = "model.layers.1.mlp.up_proj.weight"
    save_file({k: v for k, v in tensors.items() if k != name}, path, {"format": "pt"})
    with pytest.raises(UserError, match=f"lacks the tensor {name}"):
        Skeleton(open_folder(tmp_path))
    save_file(tensors | {name: torch.zeros(3, 3)}, path, {"format": "pt"})
    skeleton = Skeleton(open_folder(tmp_path))
    with pytest.raises(UserError, match="json asks for"):
        skeleton.load(skeleton.blocks[1])


def test_windows_of_text(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(open_folder(write_model(tmp_path / "tiny")))
    text = "\n\n".join(f"the noise of sensor number {n} in a dark room" for n in range(40))
    told = shuffled_windows(tokenizer, text, 6, 16, seed=1)
    assert told.shape == (6, 16)
    assert torch.equal(told, shuffled_windows(tokenizer, text, 6, 16, seed=1))
    assert not torch.equal(told, shuffled_windows(tokenizer, text, 6, 16, seed=2))
    straight = straight_windows(tokenizer, text, 64, 16)
    assert str(tokenizer.decode(straight[0])).startswith("the noise of")
    with pytest.raises(UserError, match="choose a longer one"):
        shuffled_windows(tokenizer, "short", 4, 16, seed=1)


def test_text_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no text file"):
        read_text(tmp_path / "absent.txt")
    (tmp_path / "picture.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UserError, match="not plain text"):
        read_text(tmp_path / "picture.txt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="holds no text"):
        read_text(tmp_path / "folder")


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    saved("llama", tmp_path)
    with pytest.raises(UserError, match="no tokenizer"):
        tokenizer_of(open_folder(tmp_path))
