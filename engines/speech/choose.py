"""From weights and parameters to a `SpectralModel`: which network calls a mode makes.

| weights | Fast | Natural | Best |
|---|---|---|---|
| small StoRM | estimate | estimate, bridge of 5 steps | estimate, bridge of 10 |
| StoRM | estimate | estimate, 9 steps from t = 0.5 | estimate, the authors' sampler |
| SGMSE+, score | 5 steps from t = 0.5 | 10 steps from t = 0.5 | the authors' sampler |
| SGMSE+, bridge | 2 steps | 5 steps | the authors' number of steps |
| small SGMSE+ | 2 steps | 5 steps | 10 steps |

The warm start at t = 0.5 and the ancestral predictor are what makes few steps of a score model
usable: at full noise they would have to cross too much of the diffusion at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from engines.base import UserError
from engines.speech.field import NoiseField
from engines.speech.model import Cut, Noise, Predict, Sample, SpectralModel, Transform, Watch
from engines.speech.official import Sgmse, Storm
from engines.speech.params import SpeechParams
from engines.speech.samplers import (
    bridge,
    predictor_corrector,
    predictor_corrector_calls,
    probability_flow,
)
from engines.speech.sde import OUVE, SBVE
from engines.speech.settings import Sampling, Signal
from engines.speech.small import (
    BRIDGE,
    EXPONENT,
    FACTOR,
    STFT,
    BridgeNet,
    SmallStorm,
    SpeechNet,
)
from engines.weights import LoadedModel
from kernels.stft import Stft

_WARM = 0.5  # time of the warm start
_SMALL_STEPS = {"fast": 2, "natural": 5, "best": 10}
SMALL_TRANSFORM = Transform(STFT, "exponent", EXPONENT, FACTOR)
_SMALL_FRAMES = 640  # 10.2 s; a multiple of the small networks' stride
_OFFICIAL_FRAMES = 512  # 4.1 s: twice what they were trained on
_CPU_ROWS, _GPU_ROWS = 2, 8  # chunks at once: both cores are busy, memory stays small

Score = Callable[[Tensor, Tensor, Tensor], Tensor]


def choose(loaded: LoadedModel, params: SpeechParams, device: str) -> SpectralModel:
    """The model for some weights in some mode.

    Raises:
        UserError: the weights are of no speech network, or cannot do what is asked.
    """
    network, name = loaded.network, loaded.file.id
    if isinstance(network, SmallStorm):
        return _small(network, params, device, name)
    if isinstance(network, BridgeNet):
        return _small_sgmse(network, params, device, name)
    if isinstance(network, Storm):
        return _storm(network, params, device, name)
    if isinstance(network, Sgmse):
        return _sgmse(network, params, device, name)
    raise UserError(f"The weights {name} are of no speech network; choose others")


def _small(network: SmallStorm, params: SpeechParams, device: str, name: str) -> SpectralModel:
    predict = partial(_small_estimate, network.denoiser, params.task)
    if params.mode == "fast":
        return _small_model(params, device, predict, None, 0)
    if network.refiner is None:
        raise UserError(f"The weights {name} predict only; choose the mode Fast")
    if params.task == "dereverb":
        raise UserError("Only Fast takes out the room and leaves the noise; choose both")
    sample, steps = _small_bridge(network.refiner, params, name)
    return _small_model(params, device, predict, sample, steps)


def _small_sgmse(network: BridgeNet, params: SpeechParams, device: str, name: str) -> SpectralModel:
    _check_task(params, "denoise", name)
    sample, steps = _small_bridge(network, params, name)
    return _small_model(params, device, None, sample, steps)


def _small_bridge(network: BridgeNet, params: SpeechParams, name: str) -> tuple[Sample, int]:
    """The bridge from an estimate, or from the noisy spectrogram where there is none."""
    steps = (params.steps if params.mode != "fast" else None) or _SMALL_STEPS[params.mode]
    # The small network profits from the noise that it was trained beside; `bench speech-steps`.
    kind = _bridge_kind(params, name, "sde")

    def sample(y: Tensor, d: Tensor, noise: Noise, watch: Watch) -> Tensor:
        def denoise(x: Tensor, _: Tensor, t: Tensor) -> Tensor:
            return network(x, y, d, t)

        return bridge(
            denoise, d, BRIDGE, steps=steps, kind=kind, noise=noise, check=watch.check,
            calls=_told(watch),
        )  # fmt: skip

    return sample, steps


def _small_model(
    params: SpeechParams, device: str, predict: Predict | None, sample: Sample | None, calls: int
) -> SpectralModel:
    return SpectralModel(
        rate=16_000,
        transform=SMALL_TRANSFORM,
        cut=_cut(_SMALL_FRAMES, 32, 16, STFT.hop, device),
        device=device,
        field=NoiseField(params.seed),
        predict=predict,
        sample=sample,
        sample_calls=calls,
        guarded=params.guard,
        level="percentile",
    )


def _small_estimate(network: SpeechNet, task: str, y: Tensor) -> Tensor:
    """D(y) without noise, without noise and room, or without the room alone."""

    def estimate(dry: float) -> Tensor:
        return network(y, torch.full((y.shape[0],), dry, device=y.device))

    if task != "dereverb":
        return estimate(1.0 if task == "both" else 0.0)
    heard, wet, dry = map(SMALL_TRANSFORM.expand, (y, estimate(0.0), estimate(1.0)))
    return SMALL_TRANSFORM.compress(heard - (wet - dry))


def _storm(network: Storm, params: SpeechParams, device: str, name: str) -> SpectralModel:
    settings = network.settings
    _check_task(params, settings.task, name)
    predict = network.predict if network.denoiser_net is not None else None
    sample, calls = None, 0
    if params.mode == "fast":
        if predict is None:
            raise UserError(f"The weights {name} have no predictive part; choose Natural or Best")
    elif network.score_net is None:
        raise UserError(f"The weights {name} predict only; choose the mode Fast")
    else:
        few = 10 - (predict is not None)

        def run(y: Tensor, d: Tensor, noise: Noise, watch: Watch) -> Tensor:
            def score(x: Tensor, _: Tensor, t: Tensor) -> Tensor:
                return network.score(x, y, d, t)

            return walk(score, d, noise, watch)

        assert isinstance(network.sde, OUVE)
        walk, calls = _score_sampler(network.sde, settings.sampling, params, few)
        sample = run
    return _official(settings.signal, network.stride, params, device, predict, sample, calls)


def _sgmse(network: Sgmse, params: SpeechParams, device: str, name: str) -> SpectralModel:
    settings = network.settings
    _check_task(params, settings.task, name)
    sde = network.sde
    if isinstance(sde, SBVE):
        default = {"fast": 2, "natural": 5, "best": settings.sampling.steps}[params.mode]
        calls = (params.steps if params.mode != "fast" else None) or default
        kind = _bridge_kind(params, name, "ode")

        def sample(y: Tensor, d: Tensor, noise: Noise, watch: Watch) -> Tensor:
            return bridge(
                network.clean, y, sde, steps=calls, kind=kind, noise=noise,
                earliest=settings.sampling.t_eps, check=watch.check, calls=_told(watch),
            )  # fmt: skip

    else:
        few = 5 if params.mode == "fast" else 10
        walk, calls = _score_sampler(sde, settings.sampling, params, few)

        def sample(y: Tensor, d: Tensor, noise: Noise, watch: Watch) -> Tensor:
            return walk(network.score, y, noise, watch)

    return _official(settings.signal, network.stride, params, device, None, sample, calls)


Walk = Callable[[Score, Tensor, Noise, Watch], Tensor]


def _score_sampler(sde: OUVE, own: Sampling, params: SpeechParams, few: int) -> tuple[Walk, int]:
    """Sampler around a mean, and its number of network calls."""
    best = params.mode == "best"
    steps = (params.steps if params.mode != "fast" else None) or (own.steps if best else few)
    start = 1.0 if best else _WARM
    sampler = params.sampler or ("predictor-corrector" if best else "sde")
    if sampler == "ode":

        def flow(score: Score, y: Tensor, noise: Noise, watch: Watch) -> Tensor:
            return probability_flow(
                score, y, sde, noise=noise, steps=steps, start=start, t_eps=own.t_eps,
                check=watch.check, calls=_told(watch),
            )  # fmt: skip

        return flow, steps
    original = sampler == "predictor-corrector"
    corrector = (params.corrector or own.corrector) if original else "none"

    def walk(score: Score, y: Tensor, noise: Noise, watch: Watch) -> Tensor:
        return predictor_corrector(
            score, y, sde, noise=noise, steps=steps, snr=params.snr or own.snr,
            corrector=corrector, predictor="reverse-diffusion" if original else "ancestral",
            step_rule=own.step_rule, start=start, t_eps=own.t_eps, check=watch.check,
            calls=_told(watch),
        )  # fmt: skip

    return walk, predictor_corrector_calls(steps, corrector)


def _official(
    signal: Signal,
    stride: int,
    params: SpeechParams,
    device: str,
    predict: Predict | None,
    sample: Sample | None,
    calls: int,
) -> SpectralModel:
    multiple = max(signal.frames, stride)
    frames = -(-_OFFICIAL_FRAMES // multiple) * multiple
    return SpectralModel(
        rate=signal.rate,
        transform=Transform(
            Stft(signal.n_fft, signal.hop, signal.window), signal.transform, signal.exponent,
            signal.factor, multiple, signal.padding == "reflection",
        ),
        cut=_cut(frames, 32, 64, signal.hop, device),
        device=device,
        field=NoiseField(params.seed),
        predict=predict,
        sample=sample,
        sample_calls=calls,
        guarded=params.guard,
        level="peak",
    )  # fmt: skip


def _cut(frames: int, margin: int, fade: int, hop: int, device: str) -> Cut:
    rows = _CPU_ROWS if device == "cpu" else _GPU_ROWS
    return Cut((frames - 1) * hop, margin * hop, fade * hop, rows)


def _bridge_kind(
    params: SpeechParams, name: str, usual: Literal["ode", "sde"]
) -> Literal["ode", "sde"]:
    if params.sampler == "predictor-corrector":
        raise UserError(
            f"The weights {name} are a bridge, sampled by ODE or SDE; choose one of them"
        )
    return params.sampler or usual


def _check_task(params: SpeechParams, trained: str, name: str) -> None:
    if params.task != trained:
        wanted = {"denoise": "noise", "dereverb": "the sound of the room", "both": "both at once"}
        raise UserError(
            f"The weights {name} were not trained to take out {wanted[params.task]}; "
            f"choose {trained}, or other weights"
        )


def _told(watch: Watch) -> Callable[[int, int], None]:
    def calls(_done: int, _all: int) -> None:
        watch.called()

    return calls
