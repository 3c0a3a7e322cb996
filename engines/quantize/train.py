"""Recipe `lm-small`: a language model of the Llama architecture that was never quantized.

5 M weights: 6 blocks of 256, 4 heads with 2 key-value heads, 4096 byte-pair tokens of its own, tied
embeddings. It is there so that every method can be tried offline in seconds, and so that there is a
reference whose weights no one has rounded before; it writes sentences that sound right and mean
little. On one CPU core a batch of 8 x 256 tokens takes about 0.7 s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from engines.quantize.folder import CONFIG
from engines.quantize.scratch import save_tensors
from engines.quantize.text import CALIBRATION, EVALUATION, read_text
from engines.training.loop import Batch, Recipe, TrainConfig
from engines.training.texts import TEXTS, paragraphs

NAME = "lm-small"
BUNDLED_MODEL = Path(__file__).resolve().parents[2] / "assets" / "language" / NAME
_VOCABULARY, _LENGTH, _BATCH = 4096, 256, 8
_END = "<|end|>"
CARD = "studio.json"  # what the list of models reads
_NOTE = (
    "Small language model (5 M weights) trained on a CPU by the recipe of this project, for trying "
    "the methods; it writes sentences that sound right and mean little"
)


class LanguageRecipe(Recipe):
    """Next-token prediction on paragraphs in random order."""

    name = NAME
    title = "Language model, small, never quantized"
    config = TrainConfig(rate=3e-3, average=0.995, weight_decay=0.05, half=True)

    def __init__(self, blocks: int = 6, width: int = 256) -> None:
        self.settings = LlamaConfig(
            vocab_size=_VOCABULARY, hidden_size=width, intermediate_size=5 * width // 2,
            num_hidden_layers=blocks, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
            pad_token_id=None, dtype="float16",
        )  # fmt: skip

    def network(self) -> nn.Module:
        """A fresh network; see `engines.training.loop.Recipe`."""
        torch.manual_seed(self.config.seed)
        network = LlamaForCausalLM(self.settings).float()
        for name, weight in network.named_parameters():  # what a block adds begins small
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.data.mul_(1.0 / math.sqrt(2.0 * self.settings.num_hidden_layers))
        return network

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Paragraphs, a tokenizer trained on them, and all tokens in a row."""
        ours = [read_text(path).strip().split("\n\n") for path in (CALIBRATION, EVALUATION)]
        texts = paragraphs(cache, data, {line for lines in ours for line in lines})
        self.tokenizer = _tokenizer(texts)
        self._rows = [
            np.array([*found.ids, 0], np.int64) for found in self.tokenizer.encode_batch(texts)
        ]
        held = self.tokenizer.encode(read_text(EVALUATION)).ids
        count = min(len(held) // _LENGTH, 64)
        self._held = torch.tensor(held[: count * _LENGTH]).reshape(count, _LENGTH)

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless {"tokens": (8, 257)}, paragraphs in another order every time round."""
        random = np.random.default_rng(seed)
        size = _BATCH * (_LENGTH + 1)
        row = np.zeros(0, np.int64)
        while True:
            order = random.permutation(len(self._rows))
            row = np.concatenate([row, *(self._rows[number] for number in order)])
            while len(row) >= size:
                yield {"tokens": torch.from_numpy(row[:size].reshape(_BATCH, _LENGTH + 1).copy())}
                row = row[size:]

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy in nats a token."""
        tokens = batch["tokens"]
        with torch.autocast(tokens.device.type, torch.bfloat16):
            logits = cast("LlamaForCausalLM", network)(input_ids=tokens[:, :-1]).logits
        return nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """Loss and perplexity on the bundled text that is measured on; the picture is a sample."""
        device = next(network.parameters()).device
        losses: list[float] = []
        for row in self._held:
            tokens = row[None].to(device)
            logits = cast("LlamaForCausalLM", network)(input_ids=tokens).logits[0]
            losses.append(float(nn.functional.cross_entropy(logits[:-1], tokens[0, 1:])))
        loss = float(np.mean(losses))
        _show(self._sample(network, device), figure)
        return {"loss_held_out": loss, "perplexity_held_out": math.exp(loss)}

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        return {
            "network": "quantize/language",
            "config": {},
            "title": "Language model, small",
            "note": _NOTE,
            "licence": "Apache-2.0",
            "source": f"trained here by `train {NAME}`",
            "data": "text of the Debian packages "
            + ", ".join(f"{name} ({licence})" for name, (licence, _) in TEXTS.items()),
        }

    def shipped(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        """The bundled model, as far as its tokenizer is the one that is trained now."""
        from safetensors.torch import load_file

        card = BUNDLED_MODEL / CARD
        if not card.is_file():
            return None
        if Tokenizer.from_file(str(BUNDLED_MODEL / "tokenizer.json")).to_str() != self._tokens_json:
            return None
        tensors = load_file(BUNDLED_MODEL / "model.safetensors")
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
        return tensors, json.loads(card.read_text(encoding="utf-8"))

    def export(self, run: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any]) -> Path:
        """A model folder as transformers reads it, `lm-small/` in the run's folder."""
        folder = run / NAME
        folder.mkdir(exist_ok=True)
        kept = {name: value for name, value in weights.items() if name != "lm_head.weight"}
        path = folder / "model.safetensors"
        save_tensors(path, kept, {"format": "pt"})
        self.settings.architectures = ["LlamaForCausalLM"]
        (folder / CONFIG).write_text(self.settings.to_json_string(), encoding="utf-8")
        PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer, eos_token=_END, bos_token=_END
        ).save_pretrained(folder)
        (folder / CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")
        return path

    @cached_property
    def _tokens_json(self) -> str:
        return self.tokenizer.to_str()

    def _sample(self, network: nn.Module, device: torch.device) -> str:
        tokens = torch.tensor([self.tokenizer.encode("The hacker").ids], device=device)
        generator = torch.Generator().manual_seed(1)
        for _ in range(60):
            logits = cast("LlamaForCausalLM", network)(input_ids=tokens).logits[0, -1].float().cpu()
            chosen = torch.multinomial((logits / 0.8).softmax(-1), 1, generator=generator)
            tokens = torch.cat([tokens, chosen[None].to(device)], dim=1)
        return self.tokenizer.decode(tokens[0].tolist())


def _tokenizer(texts: list[str]) -> Tokenizer:
    """Byte-level byte pairs, the most frequent first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY, special_tokens=[_END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _show(text: str, figure: Path) -> None:
    """The text as a picture, for the harness's validation figure."""
    picture = np.full((24 * (len(text) // 70 + 2), 720), 255, np.uint8)
    for number, start in enumerate(range(0, len(text), 70)):
        line = text[start : start + 70].encode("ascii", "replace").decode()
        at = (8, 24 * (number + 1))
        cv2.putText(picture, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0, 1, cv2.LINE_AA)
    cv2.imwrite(str(figure), picture)


def small() -> LanguageRecipe:
    """The model as it ships."""
    return LanguageRecipe()
