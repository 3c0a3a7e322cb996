"""Decoder blocks of every architecture, tiny and random, with what flows through them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from engines.quantize.block import LINEAR, Block, Call

VOCABULARY = 96
HIDDEN = 64
INNER = 128

_LLAMA: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
_ENDS = {"bos_token_id": 1, "eos_token_id": 2}
_GPT_NEOX = {k: v for k, v in _LLAMA.items() if k != "num_key_value_heads"}

ARCHITECTURES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", _LLAMA),
    "llama-mha": ("llama", {**_LLAMA, "num_key_value_heads": 4, "attention_bias": True}),
    "mistral": ("mistral", {**_LLAMA, "head_dim": 16}),
    "qwen2": ("qwen2", _LLAMA),
    "qwen3": ("qwen3", {**_LLAMA, "head_dim": 16}),
    "gemma": ("gemma", {**_LLAMA, "head_dim": 16}),
    "phi": ("phi", {**_GPT_NEOX, "pad_token_id": 0}),
    "phi3": ("phi3", {**_LLAMA, "pad_token_id": 0, **_ENDS}),
    "opt": (
        "opt",
        {
            "hidden_size": HIDDEN,
            "ffn_dim": INNER,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 64,
            "word_embed_proj_dim": HIDDEN,
        },
    ),
    "gpt2": ("gpt2", {"n_embd": HIDDEN, "n_layer": 2, "n_head": 4, "n_positions": 64, **_ENDS}),
    "gpt-neox": ("gpt_neox", _GPT_NEOX),
    "gpt-neox-serial": ("gpt_neox", {**_GPT_NEOX, "use_parallel_residual": False}),
}
"""Name -> transformers' model type and what its configuration differs in."""


def model(name: str, seed: int = 0) -> PreTrainedModel:
    """A random model of `ARCHITECTURES`, in float32, whose norms and biases are no trivial ones."""
    kind, settings = ARCHITECTURES[name]
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, **settings)
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for part in made.modules():
            if isinstance(part, LINEAR):
                part.weight.normal_(0, 0.15)
            for parameter in part.parameters(recurse=False):
                if parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
    return made.requires_grad_(False)


def blocks(
    name: str, *, seed: int = 0, chunks: int = 4, batch: int = 2, length: int = 32
) -> list[Block]:
    """All decoder blocks of a random model, with the calls that random tokens make of them."""
    made = model(name, seed)
    path, layers = next(
        (path, part)
        for path, part in made.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) == made.config.num_hidden_layers
    )
    streams: list[list[Call]] = [[] for _ in layers]

    def watch(number: int) -> None:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            streams[number].append(Call(args, dict(kwargs)))

        layers[number].register_forward_pre_hook(hook, with_kwargs=True)

    for number in range(len(layers)):
        watch(number)
    with torch.no_grad():
        for _ in range(chunks):
            made(input_ids=torch.randint(VOCABULARY, (batch, length)), use_cache=False)
    for part in layers:
        part._forward_pre_hooks.clear()
        part._forward_pre_hooks_with_kwargs.clear()
    return [
        Block(number, len(layers), f"{path}.{number}", part, _linears(part), streams[number])
        for number, part in enumerate(layers)
    ]


def block(name: str, *, seed: int = 0, chunks: int = 4, batch: int = 2, length: int = 32) -> Block:
    """The first decoder block of a random model."""
    return blocks(name, seed=seed, chunks=chunks, batch=batch, length=length)[0]


def lone_block(weights: Mapping[str, Tensor], inputs: list[Tensor]) -> Block:
    """A block of linear layers side by side that all see the same input.

    Args:
        weights: name -> (out, in) float32.
        inputs: chunks (batch, tokens, in).
    """
    return Block(
        0,
        1,
        "layers.0",
        _SideBySide(weights),
        tuple(weights),
        [Call((x,), {}) for x in inputs],
    )


def expert_block() -> Block:
    """A block of two experts, of which "experts.1" never sees a token."""
    torch.manual_seed(0)
    paths = tuple(f"experts.{n}.{leaf}" for n in range(2) for leaf in ("up", "down"))
    stream = [Call((torch.randn(2, 16, HIDDEN),), {}) for _ in range(3)]
    return Block(0, 1, "layers.0", _Experts().requires_grad_(False), paths, stream)


class _Expert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(HIDDEN, INNER)
        self.down = nn.Linear(INNER, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x).relu())


class _Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(HIDDEN)
        self.experts = nn.ModuleList([_Expert(), _Expert()])

    def forward(self, hidden: Tensor) -> Tensor:
        flat = self.norm(hidden).flatten(0, 1)
        made = torch.zeros_like(flat)
        chosen = torch.arange(len(flat))
        made.index_add_(0, chosen, self.experts[0](flat[chosen]))
        return hidden + made.view_as(hidden)


class _SideBySide(nn.Module):
    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, weight in weights.items():
            layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
            layer.weight = nn.Parameter(weight.clone(), requires_grad=False)
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.children()], -1)


def _linears(part: nn.Module) -> tuple[str, ...]:
    return tuple(path for path, leaf in part.named_modules() if isinstance(leaf, LINEAR))
