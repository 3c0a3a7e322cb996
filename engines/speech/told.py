"""What a checkpoint says of itself, made into checked settings.

The words come from the `hyper_parameters` of a Lightning checkpoint, which are the arguments of
the authors' training scripts, or from the metadata of a file that this studio converted. What
the shapes of the tensors say as well must agree.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from engines.base import UserError
from engines.speech.settings import (
    Condition,
    Objective,
    Process,
    Sampling,
    SgmseSettings,
    Signal,
    Size,
    StormSettings,
    Task,
)
from engines.weights import Checkpoint

Family = Literal["", "sgmse", "storm"]
Model = TypeVar("Model", bound=BaseModel)

# Arguments of the authors' scripts that only one of the two families has.
_STORM_MARKS = ("spatial_channels", "backbone_denoiser", "backbone_score", "return_time")
_SGMSE_MARKS = ("c_in", "network_scaling", "l1_weight", "normalize", "transform_type", "centered")
_WINDOWS = {"hann": "hann", "sqrthann": "sqrt-hann"}
_LOSSES = {"mse": "score_matching", "mae": "score_matching"}  # as earlier releases say it


@dataclass(frozen=True)
class Told:
    """A file's word.

    Attributes:
        name: the file's, for sentences.
        family: which code base wrote it; "" where it does not say.
        words: hyper-parameters, plain values only, "-" in names as "_".
        ours: settings of a file that was converted before, else empty.
        version: of Lightning, or "".
    """

    name: str
    family: Family
    words: Mapping[str, Any]
    ours: Mapping[str, Any]
    version: str

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Told:
        """Of any file."""
        beside = checkpoint.beside
        network = beside.get("network")
        if network in ("speech.sgmse/ncsnpp", "speech.storm/ncsnpp"):
            try:
                ours = json.loads(beside.get("config", "{}"))
            except (TypeError, ValueError):
                ours = {}
            family: Family = "sgmse" if network == "speech.sgmse/ncsnpp" else "storm"
            return cls(checkpoint.name, family, {}, ours if isinstance(ours, dict) else {}, "")
        given = beside.get("hyper_parameters")
        plain = (str, int, float, bool, list, tuple, type(None))
        words = {
            str(key).replace("-", "_"): value
            for key, value in (given.items() if isinstance(given, Mapping) else ())
            if isinstance(value, plain)
        }
        return cls(
            checkpoint.name, _family(words), words, {}, str(beside.get("pytorch-lightning_version"))
        )

    def sgmse(self, size: Size) -> SgmseSettings:
        """Settings of an SGMSE+ file whose tensors have this size.

        Raises:
            UserError: it says what its tensors are not, or what is not built here.
        """
        if self.ours:
            known = self._checked(SgmseSettings, self.ours)
            self._same_size(size, known.network.model_dump())
            return known
        self._same_size(size, self._named_size())
        backbone = self.words.get("backbone", size.backbone)
        centred = bool(self.words.get("centered", True)) or backbone == "ncsnpp_v2"
        network = self._checked(
            Size, size.model_dump() | {"backbone": backbone, "centred": centred}
        )
        if (
            network.backbone == "ncsnpp_48k"
        ) == network.pyramid and "progressive" not in self.words:
            raise self._contradiction("backbone", backbone, size.backbone)
        wide = network.backbone == "ncsnpp_48k"
        task, process = self._task(), self._process(wide)
        objective = self._objective(network, process)
        signal = self._signal(network, wide)
        slow = task == "dereverb" and network.backbone == "ncsnpp" and process.kind == "ouve"
        old = self.version.split(".")[0] in ("0", "1")
        sampling = self._checked(
            Sampling,
            {
                "steps": 50 if slow else self.words.get("N", 50 if process.kind == "sbve" else 30),
                "snr": 0.33 if slow else 0.5,
                "step_rule": "uniform" if old else "grid",
                "t_eps": self.words.get("t_eps", 0.03),
            },
        )
        return SgmseSettings(
            network=network,
            signal=signal,
            process=process,
            objective=objective,
            sampling=sampling,
            task=task,
        )

    def storm(
        self,
        denoiser: Size | None,
        score: Size | None,
        sizes: Mapping[str, Mapping[str, Any]],
    ) -> StormSettings:
        """Settings of a StoRM file whose networks have these sizes.

        Raises:
            UserError: as for `sgmse`.
        """
        if self.ours:
            known = self._checked(StormSettings, self.ours)
            for size, claimed in ((denoiser, known.denoiser), (score, known.score)):
                if size is None or claimed is None:
                    if size is not claimed:
                        raise self._contradiction("networks", "otherwise", "these")
                else:
                    self._same_size(size, claimed.model_dump())
            return known
        if self.words.get("spatial_channels", 1) != 1:
            raise UserError(f"{self.name} is for several microphones; only one is supported here")
        centred = {"centred": bool(self.words.get("centered", False))}
        for role, size in (("backbone_denoiser", denoiser), ("backbone_score", score)):
            if size is not None:
                name = self.words.get(role, self.words.get("backbone"))
                self._same_size(size, sizes.get(str(name), {}))
        condition = self._condition(denoiser, score)
        process = self._process(wide=False)
        if process.kind == "sbve":
            raise UserError(f"{self.name} is a bridge around a prediction, which is not built here")
        network = score or denoiser
        assert network is not None, "a StoRM file has a network"
        sampling = Sampling(steps=50, step_rule="uniform")
        return StormSettings(
            denoiser=denoiser and denoiser.model_copy(update=centred),
            score=score and score.model_copy(update=centred),
            condition=condition,
            signal=self._signal(network, wide=False, factor=0.15 if self.words else 0.33),
            process=process,
            sampling=sampling,
            task=self._task(),
        )

    def _condition(self, denoiser: Size | None, score: Size | None) -> Condition:
        """What the score network is given, told and by its input channels."""
        if score is None:
            return "both"
        said = self.words.get("condition")
        if denoiser is None:
            said = "noisy"
        elif said is None:
            if score.spectra == 2:
                raise UserError(
                    f"{self.name} does not say whether its score network sees the noisy input or "
                    "the estimate; add the authors' .ckpt"
                )
            said = "both"
        spectra = {"both": 3, "noisy": 2, "post_denoiser": 2}.get(str(said))
        if spectra != score.spectra:
            raise UserError(
                f"{self.name} says condition = {said}, but its score network has "
                f"{2 * score.spectra} input channels; it was put together from two models"
            )
        return "both" if said == "both" else "noisy" if said == "noisy" else "post_denoiser"

    def _named_size(self) -> dict[str, Any]:
        words = self.words
        named = {k: words[k] for k in ("nf", "ch_mult", "num_res_blocks") if k in words}
        heights = words.get("attn_resolutions")
        if isinstance(heights, (list, tuple)) and isinstance(words.get("ch_mult"), (list, tuple)):
            finest = int(words.get("image_size", 256))
            levels = range(len(words["ch_mult"]))
            named["attention"] = [level for level in levels if finest // 2**level in heights]
        return named

    def _same_size(self, size: Size, named: Mapping[str, Any]) -> None:
        found = size.model_dump()
        for key, said in named.items():
            if key in ("backbone", "centred"):
                continue
            value = list(said) if isinstance(said, tuple) else said
            have = list(found[key]) if isinstance(found[key], tuple) else found[key]
            if value != have:
                raise self._contradiction(key, value, have)

    def _contradiction(self, key: str, said: object, found: object) -> UserError:
        return UserError(
            f"{self.name} says {key} = {said}, but its tensors say {found}; it was put together "
            "from two models"
        )

    def _signal(self, network: Size, wide: bool, factor: float = 0.15) -> Signal:
        words = self.words
        rate = words.get("sr", 16_000)
        reflected = network.backbone != "ncsnpp"
        window = words.get("window", "hann")
        signal = self._checked(
            Signal,
            {
                # `sr` came late and kept its default where nobody thought of it
                "rate": 48_000 if wide and rate == 16_000 else rate,
                "n_fft": words.get("n_fft", 1534 if wide else 510),
                "hop": words.get("hop_length", 384 if wide else 128),
                "window": _WINDOWS.get(str(window), window),
                "transform": words.get("transform_type", "exponent"),
                "exponent": words.get("spec_abs_exponent", 0.667 if wide else 0.5),
                "factor": words.get("spec_factor", 0.065 if wide else factor),
                "padding": "reflection" if reflected else "zeros",
                "frames": max(64, 2 ** (len(network.ch_mult) - 1)),
            },
        )
        if (signal.n_fft // 2 + 1) % 2 ** (len(network.ch_mult) - 1):
            raise self._contradiction(
                "n_fft", signal.n_fft, f"that {len(network.ch_mult) - 1} halvings are wanted"
            )
        return signal

    def _process(self, wide: bool) -> Process:
        words = self.words
        kind = words.get("sde", "ouve")
        process = self._checked(
            Process,
            {
                "kind": str(kind).removesuffix("sde"),
                "theta": words.get("theta", 2.0 if wide else 1.5),
                "sigma_min": words.get("sigma_min", 0.1 if wide else 0.05),
                "sigma_max": words.get("sigma_max", 1.0 if wide else 0.5),
                "k": words.get("k", 2.6),
                "c": words.get("c", 0.4),
            },
        )
        if process.sigma_max <= process.sigma_min:
            raise UserError(f"{self.name} says sigma_max is not above sigma_min; it is damaged")
        return process

    def _objective(self, network: Size, process: Process) -> Objective:
        words = self.words
        if network.backbone != "ncsnpp_v2":
            return Objective()
        loss = words.get("loss_type", "data_prediction" if process.kind == "sbve" else "")
        objective = self._checked(
            Objective,
            {
                "loss": _LOSSES.get(str(loss), loss or "score_matching"),
                "scaling": words.get("network_scaling") or "none",
                "c_in": str(words.get("c_in", "1")),
                "c_out": str(words.get("c_out", "1")),
                "c_skip": str(words.get("c_skip", "0")),
                "sigma_data": words.get("sigma_data", 0.1),
            },
        )
        if process.kind == "sbve" and objective.loss != "data_prediction":
            raise self._contradiction("sde", "sbve", f"the loss {objective.loss}")
        return objective

    def _task(self) -> Task:
        about = f"{self.words.get('format', '')} {self.words.get('base_dir', '')}".lower()
        return "dereverb" if "reverb" in about else "denoise"

    def _checked(self, settings: Callable[..., Model] | type[Model], values: Any) -> Model:
        try:
            return settings(**values)
        except (ValidationError, TypeError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else {}
            where = ".".join(map(str, first.get("loc", ()))) or "its settings"
            raise UserError(
                f"{self.name} says {where} = {str(first.get('input', values))[:60]}, which this "
                "studio cannot use"
            ) from error


def _family(words: Mapping[str, Any]) -> Family:
    if any(mark in words for mark in _STORM_MARKS) or words.get("discriminative"):
        return "storm"
    return "sgmse" if any(mark in words for mark in _SGMSE_MARKS) else ""
