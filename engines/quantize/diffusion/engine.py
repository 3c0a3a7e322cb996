"""The engines for diffusion models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engines.base import Job, MediaKind, Params, Result
from engines.quantize.diffusion.params import DiffusionParams, EfficientDmParams, Ptq4dmParams

if TYPE_CHECKING:  # the page asks for titles and parameters, and never loads torch
    from engines.quantize.diffusion.process import Work


class DiffusionEngine(ABC):
    """What both share; a subclass says which method its parameters mean."""

    id: ClassVar[str]
    title: ClassVar[str]
    tab: ClassVar[str] = "Quantization"
    summary: ClassVar[str]
    accepts: ClassVar[tuple[MediaKind, ...]] = ("model",)
    suffixes: ClassVar[tuple[str, ...]] = (".zip",)
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = DiffusionParams

    @abstractmethod
    def work(self, params: Any) -> Work:
        """The method that `params`, an instance of `Params`, mean."""

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine`; the input is a folder of diffusers."""
        from engines.quantize.diffusion.process import quantize

        return quantize(inputs[0], self.id, self.version, self.work(params), params, job)


class Ptq4dmEngine(DiffusionEngine):
    """PTQ4DM."""

    id = "quantize.ptq4dm"
    title = "PTQ4DM"
    summary = "Diffusion models, calibrated on their own denoising process (Shang et al. 2023)"
    Params = Ptq4dmParams

    def work(self, params: Ptq4dmParams) -> Work:
        """See `DiffusionEngine`."""
        from engines.quantize.diffusion.process import Work
        from engines.quantize.diffusion.ptq4dm import Ptq4dm
        from engines.quantize.diffusion.sampler import skewed_times

        return Work(
            Ptq4dm(params.iterations),
            lambda count, length, generator: skewed_times(
                count, length, params.mean, params.spread, generator
            ),
            "nothing",
        )


class EfficientDmEngine(DiffusionEngine):
    """EfficientDM."""

    id = "quantize.efficientdm"
    title = "EfficientDM"
    summary = "Diffusion models, taught step by step by the original (He et al. 2024)"
    Params = EfficientDmParams

    def work(self, params: EfficientDmParams) -> Work:
        """See `DiffusionEngine`."""
        from engines.quantize.diffusion.efficientdm import EfficientDm
        from engines.quantize.diffusion.process import Work
        from engines.quantize.diffusion.sampler import even_times

        return Work(
            EfficientDm(params.iterations, params.batch, params.rank, params.rate),
            lambda count, length, _: even_times(count, length),
            "ways",
        )
