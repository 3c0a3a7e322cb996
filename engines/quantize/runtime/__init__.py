"""Running language models, original or quantized, on our kernels."""

from engines.quantize.runtime.generate import generate, speed
from engines.quantize.runtime.load import LoadedLanguageModel, load_model

__all__ = ["LoadedLanguageModel", "generate", "load_model", "speed"]
