"""Importing this module teaches transformers to load folders of `quant_method: noise-studio`.

`AutoModelForCausalLM.from_pretrained(folder)` then works as with any other model. Our own loader
goes the same way for the formats of third parties too, so that none of their packages is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from engines.quantize.export.studio import METHOD
from engines.quantize.folder import open_folder
from engines.quantize.runtime.layouts import layout_of
from engines.quantize.runtime.linear import place_layers


@dataclass(frozen=True)
class Loading:
    """What our own loader wants of one loading.

    Attributes:
        device: where quantized weights are to be.
        check: called before every layer that is loaded; what it raises ends the loading.
    """

    device: str = ""
    check: Callable[[], None] = lambda: None


LOADING: ContextVar[Loading] = ContextVar("loading", default=Loading())  # noqa: B039


@register_quantization_config(METHOD)
class StudioConfig(QuantizationConfigMixin):
    """The `quantization_config` of such a folder, as it is."""

    def __init__(self, **said: Any) -> None:
        """Keep what config.json says."""
        self.quant_method = METHOD  # pyright: ignore[reportAttributeAccessIssue]
        for key, value in said.items():
            setattr(self, key, value)


@register_quantizer(METHOD)
class StudioQuantizer(HfQuantizer):
    """Puts our layers into the model; what is not quantized transformers loads as ever."""

    requires_calibration = True  # it loads quantized models and quantizes none

    def _process_model_before_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> Any:
        files = kwargs.get("checkpoint_files") or []
        layout = layout_of(open_folder(Path(files[0]).parent))
        device_map = kwargs.get("device_map") or {}
        loading = LOADING.get()
        device = torch.device(loading.device or next(iter(device_map.values()), "cpu"))
        place_layers(model, layout, device, loading.check)
        # Their tensors are read; what transformers finds of them in the files is no surprise.
        ends = "|".join(re.escape(suffix) for suffix in sorted(layout.suffixes))
        known = set(model._keys_to_ignore_on_load_unexpected or ())
        model._keys_to_ignore_on_load_unexpected = known | {rf"\.({ends})(\.|$)"}
        return model

    def is_serializable(self) -> Any:
        """Saving goes through the studio's own exports."""
        return False

    @property
    def is_trainable(self) -> Any:
        """Codes have no gradient."""
        return False
