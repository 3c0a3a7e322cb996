"""A few lines of Python that load an exported model, by the layout that it is in."""

from __future__ import annotations

from dataclasses import dataclass

_NEEDS = {  # quant_method of a config.json -> what transformers wants installed for it
    "compressed-tensors": "transformers compressed-tensors",
    "awq": "transformers gptqmodel",
    "gptq": "transformers gptqmodel optimum",
    "bitsandbytes": "transformers bitsandbytes",
    "": "transformers",
}
_TRANSFORMERS = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = {folder!r}
model = AutoModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)

inputs = tokenizer("The noise of a sensor", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=40)[0]))
"""
_OURS = """\
from pathlib import Path

from engines.quantize.runtime import generate, load_model

model = load_model(Path({folder!r}))
print("".join(generate(model, "The noise of a sensor", max_new_tokens=40)))
"""
_DIFFUSERS = """\
from diffusers import {kind}

model = {kind}.from_pretrained({folder!r})
"""
_OURS_DIFFUSION = """\
from pathlib import Path

from engines.quantize.diffusion.load import load_diffusion

model = load_diffusion(Path({folder!r}))
pictures = model.sample(4, steps=50, seed=0)  # (4, channels, height, width) in -1..1
"""


@dataclass(frozen=True)
class Snippet:
    """Code, and what has to be there to run it."""

    needs: str
    code: str


def snippet(method: str, folder: str) -> Snippet:
    """How to load a folder whose config.json names this `quant_method` ("" for none)."""
    if method in _NEEDS:
        return Snippet(f"pip install {_NEEDS[method]}", _TRANSFORMERS.format(folder=folder))
    return Snippet(
        "This layout is the studio's own; run it in the studio's folder",
        _OURS.format(folder=folder),
    )


def diffusion_snippet(kind: str, folder: str, *, coded: bool) -> Snippet:
    """How to load the folder of a diffusion model.

    Args:
        kind: class that loads it in diffusers.
        folder: where it lies.
        coded: it is in the studio's own layout.
    """
    if coded:
        return Snippet(
            "This layout is the studio's own; run it in the studio's folder",
            _OURS_DIFFUSION.format(folder=folder),
        )
    return Snippet("pip install diffusers", _DIFFUSERS.format(kind=kind, folder=folder))
