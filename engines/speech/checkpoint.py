"""How SGMSE+ and StoRM files are recognised, and what their Lightning checkpoints tell.

A published `.ckpt` holds `state_dict` (names under `dnn.`, or `denoiser_net.` and `score_net.`),
`ema` (a list of averaged parameters in the order of the layout, without names) and
`hyper_parameters`. The averages are what the authors evaluate; they win over `state_dict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from engines.base import UserError
from engines.speech.layout import size_of
from engines.speech.official import Sgmse, Storm, network_of
from engines.speech.settings import SgmseSettings, Size, StormSettings
from engines.speech.told import Told
from engines.weights import Checkpoint, NetworkSpec, Shapes

_FULL = {"nf": 128, "ch_mult": (1, 1, 2, 2, 2, 2, 2), "num_res_blocks": 2}
_SIZES: dict[str, dict[str, Any]] = {  # as StoRM registers them
    "ncsnpp": {"nf": 128, "ch_mult": (1, 2, 2, 2), "num_res_blocks": 1},
    "ncsnpplarge": _FULL,
    "ncsnpp12M": {"nf": 96, "ch_mult": (1, 2, 2, 1), "num_res_blocks": 1},
    "ncsnpp6M": {"nf": 96, "ch_mult": (1, 1, 1, 1), "num_res_blocks": 1},
}
_DATA_MODULE = "sgmse.data_module.SpecsDataModule"  # a class that the hyper-parameters mention
_LIGHT_LEVELS = 4


# both


def _never(_shapes: Shapes) -> None:
    """Shapes alone do not say it; `read` looks at the rest of the file too."""


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _lone(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The tensors of a file with one network; the others, such as a PESQ loss, are left out."""
    return _part(checkpoint.tensors, "dnn.") or checkpoint.tensors


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def _averaged(checkpoint: Checkpoint, tensors: dict[str, Tensor], model: nn.Module) -> None:
    """Put the averaged parameters in the place of the last ones, where the file has them.

    Raises:
        UserError: they do not fit the network.
    """
    average = checkpoint.beside.get("ema")
    found = average.get("shadow_params") if isinstance(average, Mapping) else None
    if not isinstance(found, list) or not found:
        return
    names = [name for name, _ in model.named_parameters()]
    others = len(checkpoint.tensors) - len(names)
    if others > 0 and len(found) == len(names) + others:
        found = found[: len(names)]
    elif len(found) != len(names):
        names = [name for name, value in model.named_parameters() if value.requires_grad]
    if len(found) != len(names):
        raise UserError(
            f"{checkpoint.name} has averages of {len(found)} tensors for a network of "
            f"{len(names)}; add another checkpoint of this model"
        )
    for name, value in zip(names, found, strict=True):
        if not isinstance(value, Tensor) or name not in tensors:
            raise UserError(f"{checkpoint.name} has no average for {name}; add another checkpoint")
        if value.shape != tensors[name].shape:
            raise UserError(
                f"{checkpoint.name} has averages in another order than its network's tensors, "
                f"seen at {name}; add another checkpoint of this model"
            )
        tensors[name] = value


def _on_meta(build: Any, settings: Any) -> nn.Module:
    with torch.device("meta"):
        return build(settings)


def _built(name: str, build: Any, settings: type[Any], config: Mapping[str, Any]) -> nn.Module:
    try:
        return build(settings.model_validate(config))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(
            f"The settings of this {name} file are damaged at {where}; add its weights again"
        ) from error


# SGMSE+


def _is_sgmse(told: Told, size: Size) -> bool:
    if not size.conditional or size.spectra != 2:
        return False
    if told.family:
        return told.family == "sgmse"
    # tensors alone: StoRM's score networks have four levels of one block and a pyramid
    return not (size.pyramid and size.num_res_blocks == 1 and len(size.ch_mult) == _LIGHT_LEVELS)


def _read_sgmse(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    tensors = dict(_lone(checkpoint))
    size = size_of(_shapes(tensors))
    told = Told.of(checkpoint)
    if size is None or not _is_sgmse(told, size):
        return None
    settings = told.sgmse(size)
    _averaged(checkpoint, tensors, _on_meta(Sgmse, settings))
    return tensors, settings.model_dump(mode="json")


def _golden_size(config: Mapping[str, Any], **others: Any) -> Size:
    heights = [config["image_size"] // 2**level for level in range(len(config["ch_mult"]))]
    attention = [i for i, height in enumerate(heights) if height in config["attn_resolutions"]]
    known = {name: config[name] for name in ("nf", "ch_mult", "num_res_blocks")}
    return Size(**known, attention=tuple(attention), **others)


def _golden_sgmse(config: Mapping[str, Any]) -> dict[str, Any]:
    backbone = config.get("backbone", "ncsnpp")
    size = _golden_size(config, backbone=backbone, pyramid=backbone != "ncsnpp_48k")
    return SgmseSettings(network=size).model_dump(mode="json")


def _run_golden(network: nn.Module, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    out = network(torch.complex(inputs["x_re"], inputs["x_im"]), inputs["t"])
    return {"re": out.real, "im": out.imag}


def _of_size(size: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    found = dict(size) | {"ch_mult": tuple(size["ch_mult"])}
    return all(found[name] == value for name, value in wanted.items())


def _sgmse_variant(config: Mapping[str, Any]) -> str:
    parts = [f"{config['signal']['rate'] / 1000:g} kHz"]
    parts += ["bridge"] if config["process"]["kind"] == "sbve" else []
    parts += ["dereverberation"] if config["task"] == "dereverb" else []
    return ", ".join(parts)


SGMSE = NetworkSpec(
    id="speech.sgmse/ncsnpp",
    title="SGMSE+",
    detect=_never,
    read=_read_sgmse,
    build=lambda config: _built("SGMSE+", Sgmse, SgmseSettings, config),
    golden_config=_golden_sgmse,
    golden_run=_run_golden,
    expected=("output_layer.weight", "all_modules.0.W", "all_modules.3.weight"),
    official=lambda config: _of_size(config["network"], _FULL),
    licence="MIT (code); the weights as their authors say",
    source="the SGMSE+ authors' repository (sp-uhh/sgmse)",
    variant=_sgmse_variant,
    stand_ins=(_DATA_MODULE,),
)


# StoRM


def _read_storm(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    told = Told.of(checkpoint)
    parts = {
        "denoiser": _part(checkpoint.tensors, "denoiser_net."),
        "score": _part(checkpoint.tensors, "score_net."),
    }
    if not any(parts.values()):
        lone = _lone(checkpoint)
        size = size_of(_shapes(lone))
        if size is None or _is_sgmse(told, size) or told.family == "sgmse":
            return None
        parts["score" if size.conditional else "denoiser"] = lone
    sizes: dict[str, Size | None] = {"denoiser": None, "score": None}
    for role, tensors in parts.items():
        if tensors:
            sizes[role] = size_of(_shapes(tensors))
            if sizes[role] is None:
                return None
    settings = told.storm(sizes["denoiser"], sizes["score"], _SIZES)
    tensors = {f"{role}_net.{key}": v for role, part in parts.items() for key, v in part.items()}
    _averaged(checkpoint, tensors, _on_meta(Storm, settings))
    return tensors, settings.model_dump(mode="json")


def _storm_variant(config: Mapping[str, Any]) -> str:
    parts = ["dereverberation"] if config["task"] == "dereverb" else []
    if config["score"] is None:
        parts.append("predictive network only")
    elif config["denoiser"] is None:
        parts.append("score network only")
    return ", ".join(parts)


def _published_storm(config: Mapping[str, Any]) -> bool:
    sizes = [size for size in (config["denoiser"], config["score"]) if size is not None]
    return all(any(_of_size(size, known) for known in _SIZES.values()) for size in sizes)


STORM = NetworkSpec(
    id="speech.storm/ncsnpp",
    title="StoRM",
    detect=_never,
    read=_read_storm,
    build=lambda config: _built("StoRM", Storm, StormSettings, config),
    golden_config=lambda config: dict(config),
    golden_run=_run_golden,
    expected=(
        "denoiser_net.output_layer.weight",
        "denoiser_net.all_modules.0.W",
        "score_net.output_layer.weight",
        "score_net.all_modules.0.W",
    ),
    official=_published_storm,
    licence="MIT (code); the weights as their authors say",
    source="the StoRM authors' repository (sp-uhh/storm)",
    variant=_storm_variant,
    stand_ins=(_DATA_MODULE,),
)


def _golden_part(config: Mapping[str, Any]) -> dict[str, Any]:
    size = _golden_size(
        config,
        spectra=config["complex_inputs"],
        centred=False,
        conditional=not config["discriminative"],
    )
    return size.model_dump(mode="json")


def _half(part: str, title: str) -> NetworkSpec:
    """One of StoRM's networks alone, which golden files check; no file is recognised as it."""
    return NetworkSpec(
        id=f"speech.storm/{part}",
        title=title,
        detect=_never,
        build=lambda config: network_of(Size.model_validate(config)),
        golden_config=_golden_part,
        golden_run=_run_golden,
        expected=(),
        official=lambda _config: False,
        licence=STORM.licence,
        source=STORM.source,
    )


STORM_SCORE = _half("score", "StoRM's score network")
STORM_DENOISER = _half("denoiser", "StoRM's predictive network")
