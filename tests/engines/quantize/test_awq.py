from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from engines.quantize.block import Block, Call
from engines.quantize.layers import Grid
from engines.quantize.methods.awq import Awq
from engines.quantize.methods.awq_folds import Fold, find_folds
from engines.quantize.methods.grid import rounded
from engines.quantize.methods.parts import Inspected, inspected
from engines.quantize.methods.rtn import Rtn
from tests.engines.quantize.models import ARCHITECTURES, HIDDEN, block, expert_block
from tests.engines.quantize.test_gptq import output_error

_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_LLAMA = {
    _QKV: "input_layernorm",
    ("self_attn.o_proj",): "self_attn.v_proj",
    ("mlp.gate_proj", "mlp.up_proj"): "post_attention_layernorm",
    ("mlp.down_proj",): "mlp.up_proj",
}
_NEOX = {
    ("attention.query_key_value",): "input_layernorm",
    ("attention.dense",): "attention.query_key_value",
    ("mlp.dense_h_to_4h",): "post_attention_layernorm",
}
FOLDS = {
    "llama": _LLAMA,
    "llama-mha": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "phi": {(*_QKV, "mlp.fc1"): "input_layernorm", ("self_attn.dense",): "self_attn.v_proj"},
    "phi3": {
        ("self_attn.qkv_proj",): "input_layernorm",
        ("self_attn.o_proj",): "self_attn.qkv_proj",
        ("mlp.gate_up_proj",): "post_attention_layernorm",
        ("mlp.down_proj",): "mlp.gate_up_proj",
    },
    # ReLU lets a scale through.
    "opt": {
        _QKV: "self_attn_layer_norm",
        ("self_attn.out_proj",): "self_attn.v_proj",
        ("fc1",): "final_layer_norm",
        ("fc2",): "fc1",
    },
    "gpt2": {
        ("attn.c_attn",): "ln_1",
        ("attn.c_proj",): "attn.c_attn",
        ("mlp.c_fc",): "ln_2",
    },
    "gpt-neox": _NEOX,
    "gpt-neox-serial": _NEOX,
}


def loud(name: str, channel: int = 3) -> Block:
    """A block in which a few channels of what reaches the first layers are much larger."""
    layers = block(name)
    for part in layers.module.modules():
        weight = getattr(part, "weight", None)
        if isinstance(weight, Tensor) and weight.shape == (HIDDEN,):
            weight.detach()[channel::20] += 12
    return layers


def scales(fold: Fold, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return fold.shared(0.3 + 3 * torch.rand(len(fold.rows), generator=random))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_places_for_scales_are_found_without_names(name: str) -> None:
    layers = block(name)
    before = {key: value.clone() for key, value in layers.module.state_dict().items()}
    found = find_folds(layers)
    sources = {frozenset(fold.targets): fold.source for fold in found}
    assert sources == {frozenset(targets): source for targets, source in FOLDS[name].items()}
    about_one = {fold.kind == "norm about one" for fold in found if fold.kind != "linear"}
    assert about_one == {name == "gemma"}
    for key, value in layers.module.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_folded_scales_leave_the_output(name: str) -> None:
    layers = block(name)
    wanted = list(layers.outputs())
    before = {path: layers.weight(path).clone() for path in layers.linears}
    for number, fold in enumerate(find_folds(layers)):
        fold.apply(layers, fold.storable(layers, scales(fold, number)))
    for made, exact in zip(layers.outputs(), wanted, strict=True):
        assert (made - exact).norm() < 1e-5 * exact.norm()
    assert any((layers.weight(path) - before[path]).abs().max() > 0.1 for path in before)


def test_shared_heads_share_their_scales() -> None:
    """Grouped-query attention: two heads of queries for each one of keys and values."""
    fold = next(f for f in find_folds(block("llama")) if f.source == "self_attn.v_proj")
    scale = scales(fold).view(2, 2, 16)  # (heads of values, of queries each, width)
    assert torch.equal(scale[:, 0], scale[:, 1])
    assert not torch.equal(scale[0], scale[1])


def test_norms_are_left_as_bfloat16_numbers() -> None:
    for name in ("llama", "gemma", "opt"):
        layers = block(name)
        for fold in find_folds(layers):
            if fold.kind == "linear":
                continue
            weight = layers.module.get_submodule(fold.source).get_parameter("weight")
            wanted = scales(fold)
            scale = fold.storable(layers, wanted)
            assert ((scale / wanted - 1).abs() < 0.01).all()
            fold.apply(layers, scale)
            off = (weight.bfloat16().float() - weight).abs()
            assert off.max() < 1e-6


class _Norm(nn.Module):
    """A norm whose output goes somewhere else too, if told so."""

    def __init__(self, second_reader: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.layer = nn.Linear(16, 16)
        self.second_reader = second_reader

    def forward(self, hidden: Tensor) -> Tensor:
        normed = self.norm(hidden)
        made = self.layer(normed)
        return hidden + made + (0.01 * normed if self.second_reader else 0.0)


@pytest.mark.parametrize("second_reader", [True, False])
def test_a_tensor_with_another_reader_is_not_scaled(second_reader: bool) -> None:
    torch.manual_seed(0)
    module = _Norm(second_reader).requires_grad_(False)
    layers = Block(0, 1, "b", module, ("layer",), [Call((torch.randn(2, 8, 16),), {})])
    assert bool(find_folds(layers)) != second_reader
    Awq().quantize(layers, {"layer": Grid(4, 16)})
    assert bool(layers.notes) == second_reader


@pytest.mark.parametrize("name", ["llama", "gemma", "opt", "gpt2", "gpt-neox", "phi"])
@pytest.mark.parametrize("duo", [True, False])
def test_scales_lower_the_error_where_channels_differ(name: str, duo: bool) -> None:
    layers = loud(name)
    plan = {path: Grid(3, 32, symmetric=False) for path in layers.linears}
    plain = output_error(layers, Rtn().quantize(layers, plan))
    scaled = output_error(layers, Awq(duo=duo, clip=False).quantize(layers, plan))
    assert scaled < 0.8 * plain


@pytest.mark.parametrize("name", ["llama-mha", "qwen3", "gpt-neox", "phi3"])
def test_no_part_is_worse_than_rounded_to_nearest(name: str) -> None:
    method = Awq(clip=False, tokens=10**6)
    layers = block(name)
    grid = Grid(3, 32, symmetric=False)
    for fold in find_folds(layers):
        judge = Inspected(layers, inspected(layers, fold.targets))
        seen: list[Tensor] = []
        layers.sweep(fold.targets[:1], lambda _, x, seen=seen: seen.append(x))
        mean = torch.cat(seen).abs().mean(0)
        plan = dict.fromkeys(fold.targets, grid)
        scale = method._best_scale(layers, fold, fold.targets, mean, plan)
        errors: list[float] = []
        for tried in (torch.ones_like(mean), torch.ones_like(mean) if scale is None else scale):
            with layers.restored(fold.targets):
                for path in fold.targets:
                    weight = layers.weight(path)
                    weight.copy_(rounded(weight * tried, grid) / tried)
                errors.append(judge.error())
        assert errors[1] <= errors[0]


def test_without_scales_and_clipping_it_is_rounding() -> None:
    layers = block("llama")
    plan = {path: Grid(4, 32) for path in layers.linears}
    plain = Rtn().quantize(layers, plan)
    made = Awq(points=0, clip=False).quantize(layers, plan)
    for path, layer in plain.items():
        assert torch.equal(layer.dequantize(), made[path].dequantize())


@pytest.mark.parametrize("symmetric", [True, False])
def test_clipping_lowers_the_error_and_leaves_queries_and_keys(symmetric: bool) -> None:
    layers = block("llama")
    plan = {path: Grid(2, 32, symmetric) for path in layers.linears}
    plain = Rtn().quantize(layers, plan)
    clipped = Awq(points=0).quantize(layers, plan)
    assert output_error(layers, clipped) < 0.9 * output_error(layers, plain)
    for path in layers.linears:
        same = torch.equal(plain[path].dequantize(), clipped[path].dequantize())
        # Symmetric grids are not only clipped: they may also turn to the longer side.
        assert same == (not symmetric and path in ("self_attn.q_proj", "self_attn.k_proj"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name: str) -> None:
    layers = block(name)
    wanted = list(layers.outputs())
    plan = {path: Grid(3, 32, symmetric=False) for path in layers.linears}
    plain = output_error(layers, Rtn().quantize(layers, plan))
    made = Awq(points=5).quantize(layers, plan)
    assert set(made) == set(layers.linears)
    # What stays in the block is the folded model in full precision.
    for now, exact in zip(layers.outputs(), wanted, strict=True):
        assert (now - exact).norm() < 1e-4 * exact.norm()
    for path, layer in made.items():
        off = (layer.dequantize() - layers.weight(path)).norm() / layers.weight(path).norm()
        assert 0 < off < 0.5
    assert output_error(layers, made) < 0.95 * plain
    unscaled = {path for path in layers.linears if any(n.startswith(path) for n in layers.notes)}
    scaled = {path for targets in FOLDS[name] for path in targets}
    assert unscaled == set(layers.linears) - scaled


def test_layers_that_are_kept_are_scaled_with_the_others_all_the_same() -> None:
    layers = loud("llama")
    wanted = list(layers.outputs())
    made = Awq().quantize(layers, {"self_attn.q_proj": Grid(3, 32)})
    assert set(made) == {"self_attn.q_proj"}
    for now, exact in zip(layers.outputs(), wanted, strict=True):
        assert (now - exact).norm() < 1e-4 * exact.norm()


def test_an_expert_without_tokens_is_rounded_to_nearest_and_named() -> None:
    experts = expert_block()
    plan = {path: Grid(4, 32) for path in experts.linears}
    made = Awq().quantize(experts, plan)
    for path in ("experts.1.up", "experts.1.down"):
        assert torch.equal(made[path].dequantize(), rounded(experts.weight(path), plan[path]))
        assert any(f"{path} was rounded to nearest" in note for note in experts.notes)


def test_groups_of_two_sizes_in_one_part() -> None:
    layers = block("llama")
    plan = {"mlp.gate_proj": Grid(4, 16), "mlp.up_proj": Grid(2, 0, symmetric=False)}
    made = Awq().quantize(layers, plan)
    assert made["mlp.gate_proj"].settings()["group_size"] == 16
    assert made["mlp.up_proj"].settings()["group_size"] == 64
