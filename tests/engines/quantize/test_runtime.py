"""Folders that cannot be used, and text out of those that can."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from engines.base import Cancelled, UserError
from engines.quantize.runtime import LoadedLanguageModel, generate, load_model, speed
from engines.quantize.runtime.generate import TextPieces
from tests.engines.quantize.exported import export, grouped, logits

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that reads bytes: token n is LETTERS[n], then come <s> and </s>."""
    path = tmp_path_factory.mktemp("language") / "bytes"
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=258, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        bos_token_id=256, eos_token_id=257, initializer_range=0.4,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {letter: number for number, letter in enumerate(LETTERS)}
    plain = Tokenizer(models.BPE(vocabulary | {"<s>": 256, "</s>": 257}, []))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>")


@pytest.fixture
def loaded(folder: Path) -> LoadedLanguageModel:
    return load_model(folder)


# folders that cannot be used


def broken(tmp_path: Path, change: Callable[[Path], None], format: str = "studio") -> str:
    made = export(tmp_path, "llama", format, grouped(4, 32))
    change(made.folder)
    with pytest.raises(UserError) as caught:
        load_model(made.folder)
    said = str(caught.value)
    assert "\n" not in said
    return said


def edit(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def say(folder: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def test_a_shard_that_ends_early(tmp_path: Path) -> None:
    def cut(folder: Path) -> None:
        shard = folder / "model.safetensors"
        shard.write_bytes(shard.read_bytes()[:-100])

    assert "model.safetensors of made is damaged or ends early" in broken(tmp_path, cut)


@pytest.mark.parametrize("format", ["studio", "gptq", "awq", "compressed-tensors"])
def test_a_missing_tensor(tmp_path: Path, format: str) -> None:
    def drop(tensors: dict[str, Tensor]) -> None:
        ends = ("scale", "scales", "weight_scale")
        del tensors[next(name for name in tensors if name.rpartition(".")[2] in ends)]

    assert "lacks the tensor" in broken(tmp_path, lambda folder: edit(folder, drop), format)


def test_a_missing_norm(tmp_path: Path) -> None:
    def drop(tensors: dict[str, Tensor]) -> None:
        del tensors["model.layers.1.input_layernorm.weight"]

    said = broken(tmp_path, lambda folder: edit(folder, drop))
    assert "made lacks the tensor model.layers.1.input_layernorm.weight" in said


@pytest.mark.parametrize("format", ["studio", "gptq", "awq", "compressed-tensors"])
def test_shapes_that_contradict_each_other(tmp_path: Path, format: str) -> None:
    def shorten(tensors: dict[str, Tensor]) -> None:
        ends = ("scale", "scales", "weight_scale")
        for name, value in tensors.items():
            if name.rpartition(".")[2] in ends:
                tensors[name] = value[:-1].clone()

    said = broken(tmp_path, lambda folder: edit(folder, shorten), format)
    assert "contradicts itself" in said


def test_a_config_of_another_model(tmp_path: Path) -> None:
    def wider(config: dict) -> None:  # type: ignore[type-arg]
        config["intermediate_size"] = 256

    assert "where its config.json asks for (256, 64)" in broken(
        tmp_path, lambda folder: say(folder, wider)
    )


def test_a_plain_tensor_of_another_shape(tmp_path: Path) -> None:
    def shorten(tensors: dict[str, Tensor]) -> None:
        tensors["model.norm.weight"] = tensors["model.norm.weight"][:-1].clone()

    said = broken(tmp_path, lambda folder: edit(folder, shorten))
    assert "model.norm.weight of made is (63,) where its config.json asks for (64,)" in said


def test_pickles_alone(tmp_path: Path) -> None:
    def pickled(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    assert "are pickled" in broken(tmp_path, pickled)


def test_code_of_its_own(tmp_path: Path) -> None:
    def own(config: dict) -> None:  # type: ignore[type-arg]
        config["auto_map"] = {"AutoModelForCausalLM": "modeling_evil.Evil"}

    def change(folder: Path) -> None:
        say(folder, own)
        (folder / "modeling_evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")

    assert "brings code of its own" in broken(tmp_path, change)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("quant_method", "aqlm", "is not known here (aqlm)"),
        ("version", 2, "was made by a newer Noise Studio"),
    ],
)
def test_layouts_that_are_not_known(tmp_path: Path, key: str, value: object, said: str) -> None:
    def change(config: dict) -> None:  # type: ignore[type-arg]
        config["quantization_config"][key] = value

    assert said in broken(tmp_path, lambda folder: say(folder, change))


def test_an_architecture_that_is_not_known(tmp_path: Path) -> None:
    def change(config: dict) -> None:  # type: ignore[type-arg]
        config["model_type"] = "nothing"

    said = broken(tmp_path, lambda folder: say(folder, change))
    assert "describes no model that transformers knows" in said


def test_loading_can_be_cancelled(tmp_path: Path) -> None:
    made = export(tmp_path, "llama", "studio", grouped(4, 32))
    seen = []

    def check() -> None:
        seen.append(1)
        if len(seen) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        load_model(made.folder, check=check)


def test_the_original_loads_as_it_is(tmp_path: Path) -> None:
    made = export(tmp_path, "gpt2", "studio", grouped(8, 32))
    original = load_model(made.source)
    assert original.tokenizer is None
    assert float((logits(original.model) - made.logits).abs().max()) < 0.2


# text


def reference(loaded: LoadedLanguageModel, prompt: str, count: int) -> str:
    tokens = torch.tensor([tokenizer()(prompt)["input_ids"]])
    made = loaded.model.generate(tokens, max_new_tokens=count, do_sample=False, pad_token_id=257)  # type: ignore[operator]
    return str(tokenizer().decode(made[0, tokens.shape[1] :], skip_special_tokens=True))


def test_pieces_are_the_whole_text(loaded: LoadedLanguageModel) -> None:
    pieces = list(generate(loaded, "Hello there", chat=False, max_new_tokens=24))
    assert "".join(pieces) == reference(loaded, "Hello there", 24)
    assert len(pieces) > 3


def test_a_seed_is_a_text(loaded: LoadedLanguageModel) -> None:
    def text(seed: int) -> str:
        pieces = generate(loaded, "a", chat=False, max_new_tokens=16, temperature=1.0, seed=seed)
        return "".join(pieces)

    assert text(1) == text(1)
    assert text(1) != text(2)


def test_a_text_ends_with_its_token(folder: Path) -> None:
    loaded = load_model(folder)
    greedy = "".join(generate(loaded, "Hello", chat=False, max_new_tokens=8))
    second = tokenizer()(greedy)["input_ids"][1]
    loaded.model.generation_config.eos_token_id = [257, second]  # type: ignore[union-attr]
    short = "".join(generate(loaded, "Hello", chat=False, max_new_tokens=8))
    assert len(tokenizer()(short)["input_ids"]) == 1


def test_a_text_ends_where_the_model_does(loaded: LoadedLanguageModel) -> None:
    loaded.model.generation_config.eos_token_id = None  # type: ignore[union-attr]
    seen = []
    list(generate(loaded, "x" * 60, chat=False, max_new_tokens=99, check=lambda: seen.append(1)))
    assert len(seen) <= 5
    with pytest.raises(UserError, match="has 64 tokens, and bytes takes 64"):
        list(generate(loaded, "x" * 64, chat=False))


def test_writing_stops_at_the_next_token(loaded: LoadedLanguageModel) -> None:
    def check() -> None:
        if len(pieces) == 2:
            raise Cancelled

    pieces: list[str] = []
    text = generate(loaded, "Hello", chat=False, max_new_tokens=32, check=check)
    with pytest.raises(Cancelled):
        pieces.extend(text)
    assert len(pieces) == 2


def test_letters_come_whole() -> None:
    text = "né → 🙂 done"
    tokens = tokenizer()(text)["input_ids"]
    shown = TextPieces(tokenizer(), tokenizer()("Ça ")["input_ids"])
    pieces = [shown.piece(int(token)) for token in tokens] + [shown.rest()]
    assert "".join(pieces) == text
    assert "🙂" in pieces
    assert not any("\ufffd" in piece for piece in pieces)


def test_chat_needs_a_template(loaded: LoadedLanguageModel) -> None:
    with pytest.raises(UserError, match="knows no chat"):
        list(generate(loaded, "Hello", chat=True))
    assert loaded.tokenizer is not None
    loaded.tokenizer.chat_template = "{% for m in messages %}[{{ m.content }}]{% endfor %}"
    answer = "".join(generate(loaded, "Hello", chat=True, max_new_tokens=8))
    assert answer == "".join(generate(loaded, "[Hello]", chat=False, max_new_tokens=8))


def test_text_needs_a_tokenizer(tmp_path: Path) -> None:
    made = export(tmp_path, "llama", "studio", grouped(4, 32))
    loaded = load_model(made.folder)
    with pytest.raises(UserError, match="made has no tokenizer"):
        list(generate(loaded, "Hello", chat=False))
    assert speed(loaded, tokens=2) > 0
