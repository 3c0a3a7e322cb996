"""The quantization engines: one class a method, all on the same walk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engines.base import Job, MediaKind, Params, Result
from engines.quantize.params import (
    AdadimParams,
    AwqParams,
    BnbParams,
    FinequantParams,
    GptqParams,
    GridParams,
    GwqParams,
    VptqParams,
    ZeroQuantFpParams,
)

if TYPE_CHECKING:  # the page asks for titles and parameters, and never loads torch
    from engines.quantize.method import Method
    from engines.quantize.process import Work


class QuantizeEngine(ABC):
    """What the engines share; a subclass says which method its parameters mean."""

    id: ClassVar[str]
    title: ClassVar[str]
    tab: ClassVar[str] = "Quantization"
    summary: ClassVar[str]
    accepts: ClassVar[tuple[MediaKind, ...]] = ("model",)
    suffixes: ClassVar[tuple[str, ...]] = (".zip",)
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = GridParams

    @abstractmethod
    def work(self, params: Any) -> Work:
        """The method that `params`, an instance of `Params`, mean."""

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine`; the input is a model folder."""
        from engines.quantize.process import quantize

        return quantize(inputs[0], self.id, self.version, self.work(params), params, job)


def _work(method: Method, *grid: Any, extra: float = 0.0) -> Work:
    """A method on a grid of (bits, group size, symmetric), of which the last two have defaults."""
    from engines.quantize.layers import Grid
    from engines.quantize.process import Work

    return Work(method, Grid(*grid), extra=extra)


def _grid(params: GridParams) -> tuple[int, int, bool]:
    return params.bits, params.group_size, params.symmetric


class RtnEngine(QuantizeEngine):
    """Rounding to the nearest."""

    id = "quantize.rtn"
    title = "Round to nearest"
    summary = "Every weight becomes the nearest number of its group's grid; needs no text"

    def work(self, params: GridParams) -> Work:
        """See `QuantizeEngine`."""
        from engines.quantize.methods.rtn import Rtn

        return _work(Rtn(), *_grid(params))


class AwqEngine(QuantizeEngine):
    """Activation-aware weight quantization."""

    id = "quantize.awq"
    title = "AWQ"
    summary = "Scales up what matters to the output before rounding (Lin et al. 2023)"
    Params = AwqParams

    def work(self, params: AwqParams) -> Work:
        """See `QuantizeEngine`."""
        from engines.quantize.methods.awq import Awq

        return _work(Awq(clip=params.clip), *_grid(params))


class GptqEngine(QuantizeEngine):
    """GPTQ."""

    id = "quantize.gptq"
    title = "GPTQ"
    summary = "Each column's error is made up for by those still to come (Frantar et al. 2022)"
    Params = GptqParams

    def work(self, params: GptqParams) -> Work:
        """See `QuantizeEngine`."""
        from engines.quantize.methods.gptq import Gptq

        return _work(Gptq(damping=params.damping, act_order=params.act_order), *_grid(params))


class AdadimEngine(QuantizeEngine):
    """AdaDim."""

    id = "quantize.adadim"
    title = "AdaDim"
    summary = "Groups along inputs or outputs, whichever hurts less (Heo et al. 2023)"
    Params = AdadimParams

    def work(self, params: AdadimParams) -> Work:
        """See `QuantizeEngine`."""
        from engines.quantize.methods.adadim import AdaDim

        return replace(_work(AdaDim(base=params.base), *_grid(params)), dims=("in", "out"))


class GwqEngine(QuantizeEngine):
    """GWQ."""

    id = "quantize.gwq"
    title = "GWQ"
    summary = "The weights of largest gradient stay in 16 bits (Shao et al. 2024)"
    Params = GwqParams

    def work(self, params: GwqParams) -> Work:
        """See `QuantizeEngine`."""
        from engines.quantize.methods.gwq import Gwq

        share = params.outliers / 100.0
        return _work(Gwq(share=share), *_grid(params), extra=32.0 * share)


class FinequantEngine(QuantizeEngine):
    """FineQuant."""

    id = "quantize.finequant"
    title = "FineQuant"
    summary = "Groups are halved while that narrows their ranges; needs no text (Kim et al. 2023)"
    Params = FinequantParams

    def work(self, params: FinequantParams) -> Work:
        """See `QuantizeEngine`."""
        from engines.quantize.methods.finequant import FineQuant

        return _work(FineQuant(alpha=params.alpha), *_grid(params))


class ZeroQuantFpEngine(QuantizeEngine):
    """ZeroQuant-FP."""

    id = "quantize.zeroquant_fp"
    title = "ZeroQuant-FP"
    summary = "FP4 weights, FP8 activations, low-rank compensation (Wu et al. 2023)"
    Params = ZeroQuantFpParams

    def work(self, params: ZeroQuantFpParams) -> Work:
        """See `QuantizeEngine`."""
        from engines.quantize.methods.zeroquant_fp import ZeroQuantFp

        activations = None if params.activations == "none" else params.activations
        method = ZeroQuantFp(
            constraint=params.constraint, rank=params.rank, activations=activations
        )
        return _work(method, params.bits, params.group_size)


class VptqEngine(QuantizeEngine):
    """VPTQ."""

    id = "quantize.vptq"
    title = "VPTQ"
    summary = "Vectors of weights out of codebooks, for 2 bits (Liu et al. 2024)"
    Params = VptqParams

    def work(self, params: VptqParams) -> Work:
        """See `QuantizeEngine`."""
        from engines.quantize.methods.vptq import Vptq

        return _work(Vptq(seed=params.seed), params.bits)


class BnbEngine(QuantizeEngine):
    """The bitsandbytes baseline."""

    id = "quantize.bnb"
    title = "bitsandbytes"
    summary = "NF4, FP4 and INT8 as bitsandbytes has them; needs no text; the baseline"
    Params = BnbParams

    def work(self, params: BnbParams) -> Work:
        """See `QuantizeEngine`."""
        from engines.quantize.methods.bnb import Bnb

        method = Bnb(quant_type=params.table, double_quant=params.double_quant)
        return _work(method, params.bits, 64)
