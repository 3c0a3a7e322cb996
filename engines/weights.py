"""Weights: recognising a file, loading it safely, checking it against golden numbers.

A file is recognised by its tensors' names and shapes, never by its name. Only safetensors, or
`torch.load(weights_only=True)` for the authors' own checkpoints, are ever read; nothing is
unpickled. Every network registers a `NetworkSpec`; this module knows no architecture.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from safetensors import SafetensorError, safe_open

from engines.base import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

State = Literal["bundled", "official", "yours"]
Shapes = Mapping[str, tuple[int, ...]]

BUNDLED = Path(__file__).resolve().parents[1] / "assets" / "weights"
_NETWORKS: dict[str, str] = {
    "raw.yond/snrnet": "engines.raw.yond.checkpoint:SPEC",
}
_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "net", "model", "netG")


@dataclass(frozen=True)
class NetworkSpec:
    """One network: how its files are told apart, built and checked.

    Attributes:
        id: "engine/part", as in the golden files.
        title: name for people.
        detect: tensor shapes by name -> constructor settings, or None if it is another network.
        build: constructor settings -> network with random weights.
        golden_config: settings as the golden file writes them -> constructor settings.
        golden_run: (network, inputs by name) -> outputs by name.
        expected: names that mark this network, for a helpful refusal.
        official: settings of the authors' full-size network.
        licence: licence of the authors' checkpoint.
        source: where the authors publish it, in words.
    """

    id: str
    title: str
    detect: Callable[[Shapes], dict[str, Any] | None]
    build: Callable[[Mapping[str, Any]], nn.Module]
    golden_config: Callable[[Mapping[str, Any]], dict[str, Any]]
    golden_run: Callable[[nn.Module, Mapping[str, Tensor]], Mapping[str, Tensor]]
    expected: tuple[str, ...]
    official: Mapping[str, Any]
    licence: str
    source: str


@dataclass(frozen=True)
class ModelFile:
    """A safetensors file with weights that some network of ours can hold.

    `state` is "bundled" (trained by a recipe of this repo, shipped), "official" (the authors'
    size) or "yours". `config` are the network's constructor settings; `card` is what the model
    card says (data, licence, steps, figures), empty for a file that has none.
    """

    id: str
    network: str
    state: State
    title: str
    licence: str
    source: str
    path: Path
    sha256: str
    bytes: int
    config: dict[str, Any]
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """One line that says plainly what these weights are."""
        if self.state == "bundled":
            return str(
                self.card.get("note", "Trained by the recipe in this project; works offline")
            )
        if self.state == "official":
            return "The authors' full-size network, added by you"
        return "Weights that you added or trained"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for another process or a JSON document."""
        return asdict(self) | {"path": str(self.path)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelFile:
        """The inverse of `to_dict`."""
        return cls(**{**values, "path": Path(values["path"])})


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode on its device, and the file that it came from."""

    file: ModelFile
    network: nn.Module


@dataclass(frozen=True)
class GoldenCheck:
    """Largest relative error of one output against a golden file (max |ours-gold| / max |gold|)."""

    file: str
    network: str
    output: str
    max_relative_error: float
    ok: bool


def specs() -> list[NetworkSpec]:
    """All networks (this imports torch)."""
    return [_spec(network) for network in _NETWORKS]


def _spec(network: str) -> NetworkSpec:
    dotted = _NETWORKS.get(network)
    if dotted is None:
        raise UserError(f"There is no network called {network}; known are {', '.join(_NETWORKS)}")
    module, _, name = dotted.partition(":")
    return cast("NetworkSpec", getattr(import_module(module), name))


def bundled() -> list[ModelFile]:
    """The weights that ship, read without importing torch."""
    return [
        read_model(path, path.stem, "bundled") for path in sorted(BUNDLED.glob("*.safetensors"))
    ]


def read_model(path: Path, model_id: str, state: State) -> ModelFile:
    """Read what one of our own safetensors files says of itself, without importing torch.

    Raises:
        UserError: it is not a safetensors file that this studio wrote.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path.name} is not a readable safetensors file; add it again") from error
    if "network" not in metadata:
        raise UserError(f"{path.name} was not written by this studio; add it with `models add`")
    card = json.loads(metadata.get("card", "{}"))
    return ModelFile(
        id=model_id,
        network=metadata["network"],
        state=state,
        title=str(card.get("title", model_id)),
        licence=str(card.get("licence", "as the source says")),
        source=str(card.get("source", "")),
        path=path,
        sha256=_sha256_as_of(path, path.stat().st_mtime_ns, path.stat().st_size),
        bytes=path.stat().st_size,
        config=json.loads(metadata.get("config", "{}")),
        card=card,
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as lower-case hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=256)
def _sha256_as_of(path: Path, _changed: int, _bytes: int) -> str:
    """Every job and every look at the models asks; a file is read again once it has changed."""
    return sha256_of(path)


def save_safetensors(path: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write weights under a temporary name and move them into place.

    `card` holds "network" and "config" and whatever the model card says; it travels in the file's
    metadata and, for people, in a JSON file beside it.
    """
    from safetensors.torch import save_file

    partial = path.with_name(path.name + ".partial")
    metadata = {
        "network": str(card["network"]),
        "config": json.dumps(card["config"]),
        "card": json.dumps(dict(card)),
    }
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(whole, partial, metadata=metadata)
    os.replace(partial, path)
    beside = path.with_suffix(".json")
    partial = beside.with_name(beside.name + ".partial")
    partial.write_text(json.dumps(dict(card), indent=2) + "\n", encoding="utf-8")
    os.replace(partial, beside)


def convert(source: Path, target: Path, title: str = "") -> ModelFile:
    """Turn any checkpoint of a known network into a safetensors file of ours at `target`.

    Args:
        source: safetensors, or a tensors-only .pth, .pt or .ckpt.
        target: the file to write; its stem becomes the model's id.
        title: name for people; by default the network's name and the file's.

    Raises:
        UserError: unsafe, unreadable, of no known network, or incomplete; the sentence says which
            network is nearest and what is missing.
    """
    tensors = read_tensors(source)
    spec, config = recognise(tensors, source.name)
    network = spec.build(config)
    _fill(network, tensors, source.name, spec)
    official = all(config.get(name) == value for name, value in spec.official.items())
    card = {
        "network": spec.id,
        "config": config,
        "title": title or f"{spec.title} ({source.stem})",
        "licence": spec.licence if official else "as its source says",
        "source": spec.source if official else "added from a file",
    }
    save_safetensors(target, network.state_dict(), card)
    return read_model(target, target.stem, "official" if official else "yours")


def recognise(tensors: Mapping[str, Tensor], name: str) -> tuple[NetworkSpec, dict[str, Any]]:
    """Find the network that a state dict belongs to, and its constructor settings.

    Raises:
        UserError: none fits; names the nearest and what it lacks.
    """
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    candidates = specs()
    for spec in candidates:
        config = spec.detect(shapes)
        if config is not None:
            return spec, config
    nearest = max(candidates, key=lambda spec: sum(key in shapes for key in spec.expected))
    missing = [key for key in nearest.expected if key not in shapes]
    raise UserError(
        f"{name} fits no network of this studio; nearest is {nearest.title}, which also needs "
        f"{', '.join(missing[:3]) or 'other shapes'}"
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """State dict of a checkpoint on the CPU, wrappers and "module." prefixes taken off.

    Raises:
        UserError: missing, or not tensors alone.
    """
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"There is no file {path.name} here; check the path")
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Both readers raise many kinds of error on foreign bytes; all mean the same to a person.
        raise UserError(
            f"{path.name} is not a checkpoint that can be read safely; use safetensors, or a "
            "PyTorch file that holds tensors only"
        ) from error
    while isinstance(found, Mapping):
        inner = next((found[key] for key in _WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            break
        found = inner
    tensors = (
        {str(k).removeprefix("module."): v for k, v in found.items() if isinstance(v, torch.Tensor)}
        if isinstance(found, Mapping)
        else {}
    )
    if not tensors:
        raise UserError(f"{path.name} holds no weights; choose a checkpoint file")
    return tensors


def load(file: ModelFile, device: str) -> LoadedModel:
    """Build the network of `file` and fill it, in evaluation mode on `device`.

    Raises:
        UserError: the file is gone, was changed, or does not fit its network.
    """
    spec = _spec(file.network)
    network = spec.build(file.config)
    _fill(network, read_tensors(file.path), file.path.name, spec)
    network.eval().requires_grad_(False)
    return LoadedModel(file, network.to(device))


def _fill(
    network: nn.Module, tensors: Mapping[str, torch.Tensor], name: str, spec: NetworkSpec
) -> None:
    wanted = network.state_dict()
    missing = [key for key in wanted if key not in tensors]
    wrong = [key for key in wanted if key in tensors and wanted[key].shape != tensors[key].shape]
    extra = [key for key in tensors if key not in wanted]
    if missing or wrong or extra:
        what = f"lacks {missing[0]}" if missing else f"differs in {(wrong or extra)[0]}"
        raise UserError(f"{name} does not fit {spec.title}: it {what}")
    network.load_state_dict({key: tensors[key].to(wanted[key].dtype) for key in wanted})


def verify(path: Path, tolerance: float = 1e-4) -> list[GoldenCheck]:
    """Check one of our networks against a golden file: its weights, its inputs, its outputs.

    Raises:
        UserError: it is not a golden file, or of a network that is not built yet.
    """
    import torch

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path.name} is not a readable safetensors file") from error
    if "network" not in metadata or "config" not in metadata:
        raise UserError(f"{path.name} is not a golden file: it names no network")
    spec = _spec(metadata["network"])
    network = spec.build(spec.golden_config(json.loads(metadata["config"])))
    _fill(network, _part(tensors, "weights."), path.name, spec)
    network.eval()
    with torch.no_grad():
        ours = spec.golden_run(network, _part(tensors, "input."))
    checks: list[GoldenCheck] = []
    for name, golden in _part(tensors, "output.").items():
        worst = float((ours[name] - golden).abs().max() / golden.abs().max())
        checks.append(GoldenCheck(path.name, spec.id, name, worst, worst <= tolerance))
    return checks


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def read_training_state(path: Path, device: str) -> dict[str, Any]:
    """State that `engines.training.loop` saved: tensors, numbers and strings only."""
    import torch

    return torch.load(path, map_location=device, weights_only=True)
