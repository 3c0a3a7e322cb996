"""A transformers model without its weights, filled block by block.

The model is built with every parameter on the meta device, so building one costs nothing however
large it is. Blocks are found, not named: the list of modules that holds most of the linear weights.
What the model does before the first block and after the last is run by the model itself, with
stand-ins in the blocks' places.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming, apply_renamings
from transformers.pytorch_utils import Conv1D

from engines.base import UserError
from engines.quantize.block import LINEAR, Call
from engines.quantize.folder import ModelFolder


def config_of(folder: ModelFolder) -> PretrainedConfig:
    """What transformers makes of a folder's config.json; no code of the model's own is run.

    Raises:
        UserError: transformers does not know such a model.
    """
    try:
        found = AutoConfig.from_pretrained(
            folder.path, trust_remote_code=False, local_files_only=True
        )
    except (ValueError, KeyError, OSError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"The config.json of {folder.name} describes no model that transformers knows"
        ) from error
    return cast("PretrainedConfig", found)


def build(folder: ModelFolder) -> PreTrainedModel:
    """The model of a folder with all parameters on the meta device; buffers are real.

    Raises:
        UserError: transformers does not know the architecture, or it is no causal language model.
    """
    plain = config_of(folder)
    if folder.quantization is not None:
        delattr(plain, "quantization_config")  # layers of ours take their places
    try:
        with _parameters_on_meta():
            model = AutoModelForCausalLM.from_config(
                plain, trust_remote_code=False, dtype=torch.float32
            )
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{folder.name} ({folder.architecture}) is no causal language model; choose one"
        ) from error
    return cast("PreTrainedModel", model.eval())


class Skeleton:
    """A model on the meta device and the folder that its weights are in.

    Attributes:
        model: the model; `load` and `drop` fill and empty parts of it.
        blocks: names of its decoder blocks, in order.
    """

    def __init__(self, folder: ModelFolder, device: str = "cpu") -> None:
        """Build the model of `folder`.

        Raises:
            UserError: see `build`; or the folder lacks weights that the model needs.
        """
        self.folder = folder
        self.device = device
        self.model = build(folder)
        self.blocks = _blocks(self.model, folder.name)
        self._aliases = _aliases(self.model)
        self._stored = _stored_names(self.model, folder, self._aliases)
        self._returns_tuple = False

    def block(self, index: int) -> nn.Module:
        """The block at `index`, filled or not."""
        return self.model.get_submodule(self.blocks[index])

    def linears(self, index: int) -> tuple[str, ...]:
        """Paths in a block of its linear layers, in the order in which they are declared."""
        block = self.block(index)
        return tuple(name for name, part in block.named_modules() if isinstance(part, LINEAR))

    def linear_shape(self, name: str) -> tuple[int, int]:
        """(out, in) of the linear layer of that full name."""
        layer = self.model.get_submodule(name)
        rows, columns = cast("Tensor", layer.weight).shape
        return (columns, rows) if isinstance(layer, Conv1D) else (rows, columns)

    def is_conv1d(self, name: str) -> bool:
        """Whether the linear layer of that full name is GPT-2's `Conv1D`."""
        return isinstance(self.model.get_submodule(name), Conv1D)

    def value(self, name: str) -> Tensor:
        """A parameter or buffer that is filled."""
        owner, leaf = self._owner(name)
        return getattr(owner, leaf)

    def outside(self) -> list[str]:
        """Names of the parameters and persistent buffers that lie in no block."""
        prefixes = tuple(f"{name}." for name in self.blocks)
        return [n for n in self.model.state_dict() if not n.startswith(prefixes)]

    def load(self, prefix: str) -> None:
        """Fill the parameters of a module in float32; see `outside` for `load_outside`."""
        for name in self._under(prefix):
            self._fill(name)

    def load_outside(self) -> None:
        """Fill embeddings, norms and head in float32."""
        for name in self.outside():
            self._fill(name)

    def drop(self, prefix: str) -> None:
        """Empty the parameters of a module again."""
        for name in self._under(prefix):
            owner, leaf = self._owner(name)
            value = getattr(owner, leaf)
            if isinstance(value, nn.Parameter):
                owner.register_parameter(leaf, nn.Parameter(value.to("meta"), value.requires_grad))

    def stored(self, name: str) -> str:
        """The name in the folder's files of a parameter of the model."""
        return self._stored[name]

    @torch.no_grad()
    def enter(self, tokens: Tensor) -> list[Call]:
        """What each block is called with for `tokens` (batch, length) int64.

        The hidden state is that of the first block in all of them; `load_outside` comes first, and
        block 0 has to be filled, as what kind of thing a block returns is looked up once.
        """
        calls: list[Call] = []

        def seen(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
            calls.append(Call(args, kwargs))
            return hidden_of(calls[0])

        self._run(tokens, seen)
        return calls

    def leave(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Logits (batch, length, vocabulary) of what the last block returned."""
        return self._run(tokens, lambda args, kwargs: hidden)

    def _run(self, tokens: Tensor, stand_in: Any) -> Tensor:
        owner, children = self._list()
        first = children[0]
        stands = [_StandIn(block, stand_in, lambda: self._returns_tuple) for block in children]
        if not any(p.is_meta for p in first.parameters()):
            stands[0].probe = lambda made: setattr(self, "_returns_tuple", made)
        for place, stand in enumerate(stands):
            owner[place] = stand
        try:
            return self.model(input_ids=tokens.to(self.device), use_cache=False).logits
        finally:
            for place, block in enumerate(children):
                owner[place] = block

    def _list(self) -> tuple[nn.ModuleList, list[nn.Module]]:
        owner = self.model.get_submodule(self.blocks[0].rpartition(".")[0])
        assert isinstance(owner, nn.ModuleList)
        return owner, list(owner)

    def _under(self, prefix: str) -> list[str]:
        return [name for name in self._stored if name.startswith(f"{prefix}.")]

    def _owner(self, name: str) -> tuple[nn.Module, str]:
        path, _, leaf = name.rpartition(".")
        return self.model.get_submodule(path), leaf

    def _fill(self, name: str) -> None:
        owner, leaf = self._owner(name)
        wanted = getattr(owner, leaf)
        if name in self._aliases and self._stored[name] == self._stored[self._aliases[name]]:
            first_owner, first_leaf = self._owner(self._aliases[name])
            if not getattr(first_owner, first_leaf).is_meta:
                owner.register_parameter(leaf, getattr(first_owner, first_leaf))
                return
        value = self.folder.tensor(self._stored[name])
        if value.is_floating_point():
            value = value.to(self.device, torch.float32)
        if value.shape != wanted.shape:
            raise UserError(
                f"{self._stored[name]} of {self.folder.name} is {tuple(value.shape)} where its "
                f"config.json asks for {tuple(wanted.shape)}; fetch the model again"
            )
        if isinstance(wanted, nn.Parameter):
            owner.register_parameter(leaf, nn.Parameter(value, requires_grad=False))
        else:
            setattr(owner, leaf, value.to(self.device))


class _StandIn(nn.Module):
    """Takes a block's place: shows what it is called with, returns what it is told to."""

    def __init__(self, block: nn.Module, seen: Any, returns_tuple: Any) -> None:
        super().__init__()
        # Models read attributes of their blocks, such as the kind of attention.
        object.__setattr__(self, "_block", block)
        self._seen = seen
        self._returns_tuple = returns_tuple
        self.probe: Any = None

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(object.__getattribute__(self, "_block"), name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.probe is not None:
            self.probe(isinstance(object.__getattribute__(self, "_block")(*args, **kwargs), tuple))
        hidden = self._seen(args, kwargs)
        return (hidden, None) if self._returns_tuple() else hidden


def hidden_of(call: Call) -> Tensor:
    """The hidden state that a block is called with."""
    return call.args[0] if call.args else call.kwargs["hidden_states"]


def with_hidden(call: Call, hidden: Tensor) -> Call:
    """The same call on another hidden state."""
    if call.args:
        return Call((hidden, *call.args[1:]), call.kwargs)
    return Call((), {**call.kwargs, "hidden_states": hidden})


def _blocks(model: PreTrainedModel, name: str) -> list[str]:
    """Names of the modules in the list that holds most linear weights."""
    best: tuple[int, list[str]] = (0, [])
    for path, part in model.named_modules():
        if isinstance(part, nn.ModuleList):
            held = sum(leaf.weight.numel() for leaf in part.modules() if isinstance(leaf, LINEAR))
            if held > best[0]:
                best = (held, [f"{path}.{number}" for number in range(len(part))])
    if not best[1]:
        raise UserError(f"{name} has no blocks with linear layers; choose a language model")
    return best[1]


def _aliases(model: PreTrainedModel) -> dict[str, str]:
    """Tied parameter -> the one that it is tied to; on the meta device they are not one yet."""
    if not getattr(model.config, "tie_word_embeddings", False):
        return {}
    keys = getattr(model, "all_tied_weights_keys", None)
    return dict(keys) if isinstance(keys, dict) else {}


def _stored_names(
    model: PreTrainedModel, folder: ModelFolder, aliases: dict[str, str]
) -> dict[str, str]:
    """Parameter -> its name in the files: the same, an older one, or without the base prefix."""
    prefix = f"{model.base_model_prefix}."
    renamings = [
        one for one in get_model_conversion_mapping(model) if isinstance(one, WeightRenaming)
    ]
    renamed = {apply_renamings(stored, renamings): stored for stored in folder.places}

    def choices(name: str) -> Iterator[str]:
        yield name
        yield name.removeprefix(prefix)
        yield prefix + name

    found: dict[str, str] = {}
    for name in model.state_dict():
        names = [name] + ([aliases[name]] if name in aliases else [])
        stored = next((renamed[c] for n in names for c in choices(n) if c in renamed), None)
        if stored is None:
            raise UserError(
                f"{folder.name} lacks the tensor {name}, which {folder.architecture} needs; "
                "fetch the whole model"
            )
        found[name] = stored
    return found


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Every parameter made inside goes to the meta device at once; buffers keep their values."""
    register = nn.Module.register_parameter

    def on_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            parameter = nn.Parameter(parameter.to("meta"), parameter.requires_grad)
        register(module, name, parameter)

    nn.Module.register_parameter = on_meta  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # pyright: ignore[reportAttributeAccessIssue]
