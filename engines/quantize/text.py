"""Text to calibrate with and text to measure on, as windows of tokens."""

from __future__ import annotations

import random
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from engines.base import UserError
from engines.quantize.folder import ModelFolder

_TEXTS = Path(__file__).resolve().parents[2] / "assets" / "text"
CALIBRATION = _TEXTS / "calibration.txt"
EVALUATION = _TEXTS / "evaluation.txt"
_SUFFIXES = (".txt", ".md", ".rst", ".text")
_MOST = 64 * 2**20  # characters of the user's own text; more would not change a scale


def tokenizer_of(folder: ModelFolder) -> PreTrainedTokenizerBase:
    """The tokenizer in a model folder; no code of the model's own is run.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    if not folder.has_tokenizer:
        raise UserError(
            f"There is no tokenizer in {folder.name}; put the model's tokenizer.json beside "
            "its config.json"
        )
    try:
        found = AutoTokenizer.from_pretrained(
            folder.path, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # tokenizers raises plain Exception for a damaged file
        raise UserError(
            f"The tokenizer of {folder.name} cannot be read; fetch its files again"
        ) from error
    return cast("PreTrainedTokenizerBase", found)


def read_text(source: Path) -> str:
    """A text file, or the text files of a folder one after the other.

    Raises:
        UserError: there is no text to be read.
    """
    files = [source]
    if source.is_dir():
        files = sorted(one for one in source.rglob("*") if one.suffix.lower() in _SUFFIXES)
    try:
        text = "\n\n".join(one.read_text(encoding="utf-8") for one in files)
    except FileNotFoundError as error:
        raise UserError(f"There is no text file {source.name}; check its name") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{source.name} is not plain text in UTF-8; save it as such, or choose another"
        ) from error
    except OSError as error:
        raise UserError(f"{source.name} cannot be read; choose another text") from error
    if not text.strip():
        raise UserError(f"{source.name} holds no text; choose a .txt file or a folder of them")
    return text[:_MOST]


def shuffled_windows(
    tokenizer: PreTrainedTokenizerBase, text: str, count: int, length: int, seed: int
) -> Tensor:
    """(windows, length) int64: paragraphs in a random order, joined and cut; at most `count`.

    Raises:
        UserError: the text is shorter than two windows.
    """
    paragraphs = [part for part in text.split("\n\n") if part.strip()]
    random.Random(seed).shuffle(paragraphs)  # noqa: S311  (an order, no secret)
    wanted = count * length
    ids: list[int] = []
    for paragraph in paragraphs:
        if len(ids) >= wanted:
            break
        ids += _ids(tokenizer, paragraph + "\n\n")
    return _cut(ids, count, length)


def straight_windows(
    tokenizer: PreTrainedTokenizerBase, text: str, tokens: int, length: int
) -> Tensor:
    """(windows, length) int64: one tokenisation cut without overlap, some `tokens` of it.

    Raises:
        UserError: the text is shorter than two windows.
    """
    count = max(tokens // length, 2)
    return _cut(_ids(tokenizer, text[: 16 * (count + 1) * length]), count, length)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def _cut(ids: list[int], count: int, length: int) -> Tensor:
    held = min(count, len(ids) // length)
    if held < 2:
        raise UserError(
            f"The text holds {len(ids)} tokens and {2 * length} are needed; choose a longer one"
        )
    return torch.tensor(ids[: held * length], dtype=torch.int64).reshape(held, length)


def perplexity_of(losses: Tensor) -> float:
    """Exp of the mean of windows' mean losses, as published tables have it."""
    return float(losses.double().mean().exp())
