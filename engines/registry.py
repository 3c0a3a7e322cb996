"""The engines that there are: a dotted path each, imported only when one is asked for.

To add an engine, write its package and add its line to `_BUILT_IN`; the page, the command line,
the queue and the database learn of it from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from engines.base import Engine, UserError

_BUILT_IN: dict[str, str] = {
    "raw.yond": "engines.raw.yond.engine:YondEngine",
    "raw.stack": "engines.raw.yond.stack:StackEngine",
    "raw.noiser": "engines.raw.noiser.engine:NoiserEngine",
    "raw.eld": "engines.raw.eld.engine:EldEngine",
    "raw.calibrate": "engines.raw.calibrate.engine:CalibrateEngine",
    "raw.simulate": "engines.raw.simulate.engine:SimulateEngine",
    "speech.storm": "engines.speech.engine:StormEngine",
    "speech.sgmse": "engines.speech.engine:SgmseEngine",
    "separation.clipsep": "engines.separation.engine:ClipSepEngine",
    "superres.upsr": "engines.superres.engine:UpsrEngine",
    "superres.ediffsr": "engines.superres.engine:EdiffsrEngine",
    "superres.reddiff": "engines.superres.engine:ReddiffEngine",
    "superres.negvsr": "engines.superres.engine:NegvsrEngine",
    "superres.spandrel": "engines.superres.engine:SpandrelEngine",
    "superres.classical": "engines.superres.engine:ClassicalEngine",
    "quantize.awq": "engines.quantize.engine:AwqEngine",
    "quantize.gptq": "engines.quantize.engine:GptqEngine",
    "quantize.adadim": "engines.quantize.engine:AdadimEngine",
    "quantize.gwq": "engines.quantize.engine:GwqEngine",
    "quantize.finequant": "engines.quantize.engine:FinequantEngine",
    "quantize.zeroquant_fp": "engines.quantize.engine:ZeroQuantFpEngine",
    "quantize.vptq": "engines.quantize.engine:VptqEngine",
    "quantize.rtn": "engines.quantize.engine:RtnEngine",
    "quantize.bnb": "engines.quantize.engine:BnbEngine",
    "quantize.ptq4dm": "engines.quantize.diffusion.engine:Ptq4dmEngine",
    "quantize.efficientdm": "engines.quantize.diffusion.engine:EfficientDmEngine",
}
_ASIDE: dict[str, str] = {  # what a tab asks beside its results: in no list, in no history
    "quantize.ask": "engines.quantize.ask:AskEngine",
    "superres.preview": "engines.superres.preview:PreviewEngine",
    "raw.preview": "engines.raw.noiser.preview:LivePreviewEngine",
    "raw.train": "engines.raw.noiser.training:TrainEngine",
    "models.train": "engines.trainer:RecipeEngine",
}
_added: dict[str, str] = {}


def register(engine_id: str, dotted: str) -> None:
    """Add an engine of yours: `dotted` is "package.module:Class", importable in every process.

    Raises:
        ValueError: the id is taken by another class.
    """
    known = _BUILT_IN.get(engine_id) or _added.get(engine_id)
    if known not in (None, dotted):
        raise ValueError(f"two engines are called {engine_id}: {known} and {dotted}")
    _added[engine_id] = dotted


def engine_ids() -> list[str]:
    """Ids of all engines in the order in which tabs and lists show them."""
    return [*_BUILT_IN, *_added]


def aside_ids() -> list[str]:
    """Ids of engines that answer a question of the page's at once and are listed nowhere."""
    return list(_ASIDE)


def added() -> dict[str, str]:
    """Engines that `register` added (id -> dotted path), for handing on to a spawned worker."""
    return dict(_added)


def engine_class(engine_id: str) -> type[Engine]:
    """Import and return an engine's class.

    Raises:
        UserError: there is no engine of that id.
    """
    dotted = _BUILT_IN.get(engine_id) or _ASIDE.get(engine_id) or _added.get(engine_id)
    if dotted is None:
        raise UserError(f"There is no engine called {engine_id}; `engines` lists those that exist")
    module, _, name = dotted.partition(":")
    return cast("type[Engine]", getattr(import_module(module), name))
