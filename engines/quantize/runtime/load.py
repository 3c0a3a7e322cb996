"""A model folder -> a model that runs, original or quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import CRITICAL
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from engines.base import UserError
from engines.quantize.export.studio import METHOD
from engines.quantize.folder import ModelFolder, open_folder
from engines.quantize.runtime.layouts import layout_of
from engines.quantize.runtime.transformers_plugin import LOADING, Loading
from engines.quantize.skeleton import config_of
from engines.quantize.text import tokenizer_of

_CONFUSED = (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OSError)


@dataclass(frozen=True)
class LoadedLanguageModel:
    """A model ready to run.

    Attributes:
        model: in evaluation mode, its quantized linears on our kernels.
        tokenizer: None where the folder has none.
        folder: where it came from.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    folder: ModelFolder


def load_model(
    folder: Path,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    check: Callable[[], None] = lambda: None,
) -> LoadedLanguageModel:
    """Load an original model, or one that was quantized by us or by others.

    Reads compressed-tensors (pack-quantized), AWQ (gemm, gemv), GPTQ, bitsandbytes and our own
    layout; safetensors only, no code of the model's own, no package of a third party.

    Args:
        folder: with config.json and safetensors files.
        device: torch device.
        dtype: what is computed in, and the type of whatever is not quantized.
        check: called before every quantized layer; what it raises ends the loading.

    Raises:
        UserError: the folder cannot be used; the sentence says why.
    """
    opened = open_folder(folder)
    config: Any = config_of(opened)
    if opened.quantization is not None:
        layout_of(opened)  # refuses what cannot be read
        config.quantization_config = {"quant_method": METHOD}
    now = LOADING.set(Loading(device, check))
    try:
        with _quiet():
            model = _load(opened, config, dtype)
    finally:
        LOADING.reset(now)
    tokenizer = tokenizer_of(opened) if opened.has_tokenizer else None
    return LoadedLanguageModel(cast("Any", model).to(device).eval(), tokenizer, opened)


def _load(folder: ModelFolder, config: Any, dtype: torch.dtype) -> PreTrainedModel:
    try:
        made = cast("Any", AutoModelForCausalLM).from_pretrained(
            str(folder.path),
            config=config,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except _CONFUSED as error:
        raise UserError(
            f"{folder.name} ({folder.architecture}) cannot be loaded: "
            f"{str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
        ) from error
    model, report = made
    if report["missing_keys"]:
        raise UserError(
            f"{folder.name} lacks the tensor {min(report['missing_keys'])}, which "
            f"{folder.architecture} needs; fetch the whole model"
        )
    if report["mismatched_keys"]:
        name, stored, wanted = min(report["mismatched_keys"])
        raise UserError(
            f"{name} of {folder.name} is {tuple(stored)} where its config.json asks for "
            f"{tuple(wanted)}; fetch the model again"
        )
    return cast("PreTrainedModel", model)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and reports of transformers: we say ourselves what is wrong."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
