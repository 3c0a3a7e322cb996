from __future__ import annotations

from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from engines.base import UserError
from engines.quantize.gguf_folder import write_folder
from tests.engines.quantize import tiny_gguf


def test_the_folder_is_the_same_model(tmp_path: Path) -> None:
    wanted = tiny_gguf.model()
    tiny_gguf.write(tmp_path / "tiny.gguf", wanted)
    shares: list[float] = []
    write_folder(tmp_path / "tiny.gguf", tmp_path, step=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert loaded.config.num_key_value_heads == 2
    assert loaded.config.tie_word_embeddings
    assert loaded.generation_config.eos_token_id == 2
    tokens = torch.randint(3, 40, (2, 20))
    with torch.no_grad():
        torch.testing.assert_close(loaded(tokens).logits, wanted(tokens).logits)


def test_rounded_tensors_are_decoded(tmp_path: Path) -> None:
    wanted = tiny_gguf.model()
    tiny_gguf.write(tmp_path / "tiny.gguf", wanted, kind=gguf.GGMLQuantizationType.Q4_1)
    write_folder(tmp_path / "tiny.gguf", tmp_path)
    name = "model.layers.1.mlp.up_proj.weight"
    found = load_file(tmp_path / "model.safetensors")[name].float()
    # Q4_1: sixteen values between the least and the greatest of 32.
    groups = wanted.get_parameter(name).detach().reshape(-1, 32)
    step = (groups.amax(1) - groups.amin(1)) / 15
    error = (found.reshape(-1, 32) - groups).abs().amax(1)
    assert (error <= 0.52 * step).all()
    assert error.max() > 0


def test_tokenizer(tmp_path: Path) -> None:
    tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model())
    write_folder(tmp_path / "tiny.gguf", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    words = tokenizer.convert_ids_to_tokens(tokenizer("the thing 12").input_ids)
    assert words == ["the", "Ġ", "th", "i", "n", "g", "Ġ", "1", "2"]
    assert tokenizer.decode(tokenizer("a the 12\nb").input_ids) == "a the 12\nb"
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "abc"}], tokenize=False)
    assert tokenizer(chat).input_ids == [1, 3, 4, 5, 2]
    assert tokenizer.eos_token == "<|im_end|>"


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "bert.gguf", "bert")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UserError, match=r"Llama architecture.* is bert: bert\.gguf$"):
        write_folder(tmp_path / "bert.gguf", tmp_path)


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model(), cut="qwen2")
    with pytest.raises(UserError, match=r"tokenizer of this kind.*qwen2"):
        write_folder(tmp_path / "tiny.gguf", tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("keep", [0, 3, 100, 5000, -5000])
def test_a_damaged_file_is_refused(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    tiny_gguf.write(path, tiny_gguf.model())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="damaged"):
        write_folder(path, tmp_path)
    path.write_bytes(b"no GGUF at all, but long enough to be one")
    with pytest.raises(UserError, match="damaged"):
        write_folder(path, tmp_path)
