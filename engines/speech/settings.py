"""What a converted SGMSE+ or StoRM file says of itself: its `config`, checked, without torch.

The defaults are those of the published training scripts where the checkpoint is silent.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Backbone = Literal["ncsnpp", "ncsnpp_48k", "ncsnpp_v2"]
Condition = Literal["both", "noisy", "post_denoiser"]
Task = Literal["denoise", "dereverb"]
Positive = Annotated[float, Field(gt=0.0, le=1e3, allow_inf_nan=False)]


class _Checked(BaseModel):
    """Frozen, and nothing unknown accepted: the values come from files of strangers."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Size(_Checked):
    """Constructor settings of `engines.speech.ncsnpp.NCSNpp`, which says what they mean."""

    nf: int = Field(default=128, ge=4, le=512, multiple_of=4)
    ch_mult: tuple[Annotated[int, Field(ge=1, le=8)], ...] = Field(
        default=(1, 1, 2, 2, 2, 2, 2), min_length=1, max_length=10
    )
    num_res_blocks: int = Field(default=2, ge=1, le=8)
    attention: tuple[int, ...] = (4,)
    spectra: int = Field(default=2, ge=1, le=3)
    backbone: Backbone = "ncsnpp"
    centred: bool = True
    pyramid: bool = True
    conditional: bool = True


class Signal(_Checked):
    """The spectrogram that a network works on.

    Attributes:
        rate: Hz.
        n_fft: samples of a frame.
        hop: samples from frame to frame.
        window: periodic, `n_fft` long.
        transform: "exponent": factor |c|^exponent; "log": factor ln(1 + |c|); "none": c. The
            angle is kept.
        exponent: for "exponent".
        factor: for "exponent" and "log".
        padding: what fills the frames up to a multiple of `frames`.
        frames: see `padding`.
    """

    rate: int = Field(default=16_000, ge=4_000, le=192_000)
    n_fft: int = Field(default=510, ge=16, le=16_384, multiple_of=2)
    hop: int = Field(default=128, ge=1, le=16_384)
    window: Literal["hann", "sqrt-hann"] = "hann"
    transform: Literal["exponent", "log", "none"] = "exponent"
    exponent: float = Field(default=0.5, gt=0.0, le=1.0)
    factor: Positive = 0.15
    padding: Literal["zeros", "reflection"] = "zeros"
    frames: int = Field(default=64, ge=1, le=1024)


class Process(_Checked):
    """The diffusion: "ouve" with theta and sigmas, or "sbve" with k and c (`sde.py`)."""

    kind: Literal["ouve", "sbve"] = "ouve"
    theta: Positive = 1.5
    sigma_min: Positive = 0.05
    sigma_max: Positive = 0.5
    k: float = Field(default=2.6, gt=1.0, le=100.0)
    c: Positive = 0.4


class Objective(_Checked):
    """What `ncsnpp_v2`'s output means (Richter et al. 2024); the others predict the score.

    Attributes:
        loss: "score_matching" and "denoiser" give a score, "data_prediction" the clean speech.
        scaling: what the raw output is divided by.
        c_in: scale of the inputs.
        c_out: scale of the output.
        c_skip: weight of x_t in the output.
        sigma_data: spread of the data, for "edm".
    """

    loss: Literal["score_matching", "denoiser", "data_prediction"] = "score_matching"
    scaling: Literal["none", "1/sigma", "1/t"] = "none"
    c_in: Literal["1", "edm"] = "1"
    c_out: Literal["1", "sigma", "1/sigma", "edm"] = "1"
    c_skip: Literal["0", "edm"] = "0"
    sigma_data: Positive = 0.1


class Sampling(_Checked):
    """The authors' sampler for this file; see `samplers.predictor_corrector`."""

    steps: int = Field(default=30, ge=1, le=1000)
    snr: float = Field(default=0.5, gt=0.0, le=5.0)
    corrector: Literal["annealed-langevin", "langevin", "none"] = "annealed-langevin"
    step_rule: Literal["grid", "uniform"] = "grid"
    t_eps: float = Field(default=0.03, gt=0.0, lt=1.0)


class SgmseSettings(_Checked):
    """`config` of "speech.sgmse/ncsnpp"."""

    network: Size = Size()
    signal: Signal = Signal()
    process: Process = Process()
    objective: Objective = Objective()
    sampling: Sampling = Sampling()
    task: Task = "denoise"


class StormSettings(_Checked):
    """`config` of "speech.storm/ncsnpp".

    Attributes:
        denoiser: the predictive network; None: the file has none, it only samples.
        score: the score network; None: the file has none, it only predicts.
        condition: what the score network sees beside x_t: the noisy input, the predictive
            estimate, or "both".
        signal: see `Signal`.
        process: see `Process`.
        sampling: see `Sampling`.
        task: what it was trained for.
    """

    denoiser: Size | None = None
    score: Size | None = None
    condition: Condition = "both"
    signal: Signal = Signal()
    process: Process = Process()
    sampling: Sampling = Sampling()
    task: Task = "denoise"
