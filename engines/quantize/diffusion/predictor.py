"""The network of a diffusion folder in memory, and what it is conditioned on.

Three kinds: nothing, classes (whole numbers), and text (embeddings of a text encoder, with
classifier-free guidance). A condition is None, (B,) int64 or (B, tokens, width) float32.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engines.base import UserError
from engines.quantize.diffusion.folder import DiffusionFolder, picture_size

Condition = Tensor | None
_RENAMED = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
_CONFUSED = (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OSError)


@dataclass(frozen=True)
class Conditions:
    """What pictures may be asked for.

    Attributes:
        choices: (n,) int64 or (n, tokens, width) float32; None for a network of no condition.
        empty: (1, tokens, width), the embedding of no text; None where nothing is guided.
        guidance: how far predictions are led from those of no text to those of the text.
    """

    choices: Tensor | None = None
    empty: Tensor | None = None
    guidance: float = 1.0

    def draw(self, count: int, generator: torch.Generator) -> Condition:
        """Of `count` pictures, each with the same chance."""
        if self.choices is None:
            return None
        return self.choices[torch.randint(len(self.choices), (count,), generator=generator)]


class Predictor:
    """The noise that a network finds, guided where its conditions say so."""

    def __init__(self, network: nn.Module, conditions: Conditions) -> None:
        self.network = network
        self.conditions = conditions

    @property
    def device(self) -> torch.device:
        """Of the network's weights."""
        return next(self.network.parameters()).device

    def raw(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """One call of the network as it is.

        Args:
            x: (B, C, H, W).
            t: (B,) int64.
            condition: see the module's text.
        """
        network: Any = self.network
        x, t = x.to(self.device), t.to(self.device)
        if condition is None:
            return network(x, t, return_dict=False)[0]
        condition = condition.to(self.device)
        if condition.dtype == torch.int64:
            return network(x, t, class_labels=condition, return_dict=False)[0]
        return network(x, t, encoder_hidden_states=condition, return_dict=False)[0]

    def __call__(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """As `raw`, guided."""
        told = self.conditions
        if told.empty is None or condition is None or told.guidance == 1.0:
            return self.raw(x, t, condition)
        both = torch.cat([told.empty.expand(len(x), -1, -1), condition.cpu()])
        plain, led = self.raw(torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
        return plain + told.guidance * (led - plain)


def load_network(folder: DiffusionFolder, device: str) -> nn.Module:
    """The network in float32, frozen.

    Raises:
        UserError: its files cannot be used, or it is quantized already.
    """
    if folder.network.quantization is not None:
        raise UserError(f"{folder.name} is quantized already; choose the original model")
    network = make_network(folder)
    tensors = {name: folder.network.tensor(stored(folder, name)) for name in network.state_dict()}
    network.load_state_dict({name: value.float() for name, value in tensors.items()})
    return network.requires_grad_(False).eval().to(device)


def stored(folder: DiffusionFolder, name: str) -> str:
    """What the files call a tensor; the first releases of diffusers had other names."""
    if name in folder.network.places:
        return name
    old = name
    for now, before in _RENAMED.items():
        old = old.replace(f".{now}.", f".{before}.")
    return old if old in folder.network.places else name


def make_network(folder: DiffusionFolder) -> nn.Module:
    """The network as its config has it, with weights of chance, in float32.

    Raises:
        UserError: diffusers cannot make it.
    """
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    made: Any = UNet2DModel if folder.kind == "UNet2DModel" else UNet2DConditionModel
    config = {k: v for k, v in folder.network.config.items() if k != "quantization_config"}
    try:
        with torch.device("meta"):  # a config may ask for more than there is memory
            _fits(folder, made.from_config(config).state_dict())
        return made.from_config(config).float()
    except _CONFUSED as error:
        said = str(error).strip().splitlines()
        raise UserError(
            f"The network of {folder.name} cannot be made from its config: "
            f"{said[0] if said else type(error).__name__}"
        ) from error


def _fits(folder: DiffusionFolder, wanted: Mapping[str, Tensor]) -> None:
    for name, value in wanted.items():
        place = folder.network.places.get(stored(folder, name))
        if place is not None and place.shape != tuple(value.shape):
            raise UserError(
                f"{name} of {folder.name} is {place.shape} where its config asks for "
                f"{tuple(value.shape)}; fetch the model again"
            )
        coded = f"{name.removesuffix('weight')}codes" in folder.network.places
        if place is None and not coded:
            raise UserError(f"{folder.name} lacks the tensor {name}; fetch the model again")


def twin(network: nn.Module) -> nn.Module:
    """The same network of other modules that hold the same tensors, so that it costs no memory."""
    memo: dict[int, Any] = {id(one): one for one in network.parameters()}
    memo |= {id(one): one for one in network.buffers()}
    return copy.deepcopy(network, memo)


def conditions_of(folder: DiffusionFolder, prompts: Sequence[str], guidance: float) -> Conditions:
    """What the pictures of a folder may be asked for.

    Raises:
        UserError: it needs a text encoder that is not there, or prompts that were not given.
    """
    config = folder.network.config
    if folder.kind == "UNet2DModel":
        classes = config.get("num_class_embeds")
        if not classes:
            if config.get("class_embed_type"):
                raise UserError(f"The classes of {folder.name} are not numbered; choose another")
            return Conditions()
        return Conditions(torch.arange(int(classes)))
    if not {"text_encoder", "tokenizer"} <= folder.parts.keys():
        raise UserError(
            f"{folder.name} is conditioned on text, and its folders text_encoder and tokenizer are "
            "not there; choose the whole pipeline"
        )
    if not prompts:
        raise UserError(f"{folder.name} makes pictures of texts; name one or more in prompts")
    texts = _embedded(folder, ["", *prompts])
    return Conditions(texts[1:], texts[:1], guidance)


def shape_of(folder: DiffusionFolder) -> tuple[int, int, int]:
    """(channels, height, width) of what the network takes."""
    height, width = picture_size(folder.network.config)
    return int(folder.network.config.get("in_channels", 3)), height, width


@torch.no_grad()
def _embedded(folder: DiffusionFolder, texts: Sequence[str]) -> Tensor:
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder.parts["tokenizer"], local_files_only=True, trust_remote_code=False
        )
        encoder: Any = AutoModel.from_pretrained(
            folder.parts["text_encoder"], local_files_only=True, trust_remote_code=False,
            use_safetensors=True,
        )  # fmt: skip
        encoder = getattr(encoder, "text_model", encoder).float().eval()
        length = min(int(tokenizer.model_max_length), 77)
        tokens = tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=length,
            return_tensors="pt",
        )  # fmt: skip
        return encoder(input_ids=tokens["input_ids"])[0].float()
    except _CONFUSED as error:
        said = str(error).strip().splitlines()
        raise UserError(
            f"The text encoder of {folder.name} cannot be loaded: "
            f"{said[0] if said else type(error).__name__}"
        ) from error
