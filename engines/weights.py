"""Weights: recognising a file, loading it safely, checking it against golden numbers.

A file is recognised by its tensors' names and shapes, never by its name. Only safetensors, or
`torch.load(weights_only=True)` for the authors' own checkpoints, are ever read; nothing is
unpickled: where a published file names a class, an empty stand-in takes its place. Every network
registers a `NetworkSpec`; this module knows no architecture.
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
from zipfile import is_zipfile

from safetensors import SafetensorError, safe_open

from engines.base import UserError
from engines.diffusers_folder import is_diffusers, read_diffusers
from engines.ncnn_pair import is_pair, read_pair

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

State = Literal["bundled", "official", "yours"]
Shapes = Mapping[str, tuple[int, ...]]

BUNDLED = Path(__file__).resolve().parents[1] / "assets" / "weights"
_NETWORKS: dict[str, str] = {
    "raw.yond/snrnet": "engines.raw.yond.checkpoint:SPEC",
    "raw.noiser/net": "engines.raw.noiser.checkpoint:SPEC",
    "raw.eld/unet": "engines.raw.eld.checkpoint:SPEC",
    "raw.simulate/pnnp": "engines.raw.pnnp.checkpoint:SPEC",
    "separation.clipsep/net": "engines.separation.checkpoint:CLIPSEP",
    "separation.clipsep/small": "engines.separation.checkpoint:SMALL",
    "speech.sgmse/ncsnpp": "engines.speech.checkpoint:SGMSE",
    "speech.sgmse/small": "engines.speech.small_checkpoint:SGMSE",
    "speech.storm/small": "engines.speech.small_checkpoint:STORM",
    "speech.storm/ncsnpp": "engines.speech.checkpoint:STORM",
    "speech.storm/score": "engines.speech.checkpoint:STORM_SCORE",
    "speech.storm/denoiser": "engines.speech.checkpoint:STORM_DENOISER",
    "superres.upsr/fast": "engines.superres.fast_checkpoint:SPEC",
    "superres.upsr/unet": "engines.superres.upsr.checkpoint:UNET",
    "superres.upsr/g": "engines.superres.upsr.checkpoint:REGRESSOR",
    "superres.ediffsr/net": "engines.superres.ediffsr.checkpoint:SPEC",
    "superres.reddiff/prior": "engines.superres.reddiff.checkpoint:SPEC",
    "superres.negvsr/net": "engines.superres.negvsr.checkpoint:SPEC",
    "superres.spandrel/ncnn": "engines.superres.community.ncnn_file:SPEC",
    # Knows many architectures, so it is asked last.
    "superres.spandrel/torch": "engines.superres.community.torch_file:SPEC",
}
_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "net", "model", "netG")


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights as it was read.

    Attributes:
        name: the file's name, for sentences.
        tensors: its state dict on the CPU, wrappers and "module." prefixes taken off.
        beside: what else its outermost mapping holds (hyper-parameters, averages, ...), or the
            metadata of a safetensors file; the word of a stranger.
    """

    name: str
    tensors: dict[str, Tensor]
    beside: Mapping[str, Any]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by name."""
        return {key: tuple(value.shape) for key, value in self.tensors.items()}


@dataclass(frozen=True)
class NetworkSpec:
    """One network: how its files are told apart, built and checked.

    Attributes:
        id: "engine/part", as in the golden files.
        title: name for people.
        detect: tensor shapes by name -> constructor settings, or None if it is another network;
            not asked where there is `read`.
        build: constructor settings -> network with random weights.
        golden_config: settings as the golden file writes them -> constructor settings.
        golden_run: (network, inputs by name) -> outputs by name.
        expected: names that mark this network, for a helpful refusal.
        official: whether constructor settings are those of an authors' full-size network.
        licence: licence of the authors' checkpoint.
        source: where the authors publish it, in words.
        read: checkpoint -> (tensors as the network names them, constructor settings), or None if
            it is another network; by default the tensors as they are and what `detect` says.
            Raises `UserError` for a file of this network that contradicts itself.
        variant: constructor settings -> what to add to the title, such as "48 kHz", or "".
        stand_ins: dotted names of classes that published files mention and nobody needs.
        restore: (tensors, settings) -> the network with these weights, where only a library that
            sees the tensors can build it; in place of `build`.
        needs: what has to be installed before its files can be read, as an advice, or "".
    """

    id: str
    title: str
    detect: Callable[[Shapes], dict[str, Any] | None]
    build: Callable[[Mapping[str, Any]], nn.Module]
    golden_config: Callable[[Mapping[str, Any]], dict[str, Any]]
    golden_run: Callable[[nn.Module, Mapping[str, Tensor]], Mapping[str, Tensor]]
    expected: tuple[str, ...]
    official: Callable[[Mapping[str, Any]], bool]
    licence: str
    source: str
    read: Callable[[Checkpoint], tuple[dict[str, Tensor], dict[str, Any]] | None] | None = None
    variant: Callable[[Mapping[str, Any]], str] = lambda _settings: ""
    stand_ins: tuple[str, ...] = ()
    restore: Callable[[Mapping[str, Tensor], Mapping[str, Any]], nn.Module] | None = None
    needs: Callable[[], str] = lambda: ""


def no_golden(_config: Mapping[str, Any]) -> dict[str, Any]:
    """For a network of this project's own, as `NetworkSpec.golden_config`.

    Raises:
        UserError: always.
    """
    raise UserError("This network is this project's own; there are no golden numbers of it")


def no_run(_network: nn.Module, _inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Likewise, as `NetworkSpec.golden_run`.

    Raises:
        UserError: always.
    """
    raise UserError("This network is this project's own; there are no golden numbers of it")


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
        kind = self.card.get("variant", "")
        return f"{kind}, added by you" if kind else "Weights that you added or trained"

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
    checkpoint = read_checkpoint(source)
    spec, tensors, config = recognise(checkpoint)
    network = _filled(spec, tensors, config, source.name)
    official = spec.official(config)
    named = ", ".join(part for part in (spec.title, spec.variant(config)) if part)
    card = {
        "network": spec.id,
        "config": config,
        "title": title or f"{named} ({source.stem})",
        "licence": spec.licence if official else "as its source says",
        "source": spec.source if official else "added from a file",
        "variant": spec.variant(config),
    }
    save_safetensors(target, tensors if spec.restore else network.state_dict(), card)
    return read_model(target, target.stem, "official" if official else "yours")


def recognise(checkpoint: Checkpoint) -> tuple[NetworkSpec, dict[str, Tensor], dict[str, Any]]:
    """Find the network of a checkpoint, its tensors as we name them, and its settings.

    Raises:
        UserError: none fits; names the nearest and what it lacks.
    """
    shapes = checkpoint.shapes
    candidates = specs()
    for spec in candidates:
        if spec.read is not None:
            found = spec.read(checkpoint)
            if found is not None:
                return spec, *found
        elif (config := spec.detect(shapes)) is not None:
            return spec, checkpoint.tensors, config
    nearest = max(candidates, key=lambda spec: sum(key in shapes for key in spec.expected))
    missing = [key for key in nearest.expected if key not in shapes]
    needs = "".join(f"; if it is a {s.title.lower()}, {s.needs()}" for s in candidates if s.needs())
    raise UserError(
        f"{checkpoint.name} fits no network of this studio; nearest is {nearest.title}, which also "
        f"needs {', '.join(missing[:3]) or 'other shapes'}{needs}"
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of `read_checkpoint`."""
    return read_checkpoint(path).tensors


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file of weights onto the CPU; what is not asked for stays on the disk.

    Raises:
        UserError: missing, or not tensors and plain values alone.
    """
    import torch

    folder = is_diffusers(path)
    if not path.is_file() and not folder:
        raise UserError(f"There is no file {path.name} here; check the path")
    found: Any
    beside: Mapping[str, Any] = {}
    try:
        if folder:
            found, beside = read_diffusers(path)
        elif is_pair(path):
            found = read_pair(path)
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                beside = file.metadata() or {}
                found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        else:
            found = beside = _read_plain(path)
    except UserError:
        raise
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
    return Checkpoint(path.name, tensors, beside if isinstance(beside, Mapping) else {})


class _StandIn:
    """Takes the place of a class that a checkpoint mentions; it can do nothing."""


def _read_plain(path: Path) -> Any:
    """Tensors, numbers, strings and their collections of a PyTorch file; no other class."""
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    names = sorted({name for spec in specs() for name in spec.stand_ins})
    zipped = is_zipfile(path)
    with safe_globals([(_StandIn, name) for name in names]):
        refused = sorted(get_unsafe_globals_in_checkpoint(path)) if zipped else []
        if refused:
            raise UserError(
                f"{path.name} holds code, {', '.join(refused[:3])}, which is never run here; save "
                "its state dict as safetensors and add that"
            )
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)


def load(file: ModelFile, device: str) -> LoadedModel:
    """Build the network of `file` and fill it, in evaluation mode on `device`.

    Raises:
        UserError: the file is gone, was changed, or does not fit its network.
    """
    network = _filled(_spec(file.network), read_tensors(file.path), file.config, file.path.name)
    network.eval().requires_grad_(False)
    return LoadedModel(file, network.to(device))


def _filled(
    spec: NetworkSpec, tensors: Mapping[str, Tensor], config: Mapping[str, Any], name: str
) -> nn.Module:
    if spec.restore is not None:
        return spec.restore(tensors, config)
    network = spec.build(config)
    _fill(network, tensors, name, spec)
    return network


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
