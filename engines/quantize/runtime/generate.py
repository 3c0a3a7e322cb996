"""Text out of a loaded model, token by token, and how fast it comes."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from engines.base import UserError
from engines.quantize.runtime.load import LoadedLanguageModel

_PREFILL = 256  # tokens of the prompt between two looks at whether the person has had enough
_UNFINISHED = "\ufffd"  # what the first bytes of a letter decode to


def generate(
    loaded: LoadedLanguageModel,
    prompt: str,
    *,
    chat: bool = False,
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[str]:
    """Continue a text, or answer it.

    Args:
        loaded: with a tokenizer.
        prompt: the text.
        chat: put it into the model's chat template, as a person's message.
        max_new_tokens: most tokens to write; the model's longest text ends it too.
        temperature: 0 takes the likeliest token, more makes unlikely ones more frequent.
        seed: of what is drawn.
        check: called before every token; what it raises ends the writing.
        say: told what is going on, in a few words.

    Yields:
        Pieces of text, which in a row are the whole text.

    Raises:
        UserError: there is no tokenizer, no chat template, or no room behind the prompt.
    """
    tokenizer = loaded.tokenizer
    if tokenizer is None:
        raise UserError(f"{loaded.folder.name} has no tokenizer; copy its tokenizer files there")
    tokens = _encode(loaded, tokenizer, prompt, chat)
    limit = _room(loaded, len(tokens))
    say(f"Reading {len(tokens)} tokens")
    ends = _ends(loaded, tokenizer)
    draw = torch.Generator().manual_seed(seed)
    steps = _Steps(loaded.model)
    logits = steps.read(tokens, check)
    say("Writing")
    text = TextPieces(tokenizer, tokens)
    for _ in range(min(max_new_tokens, limit)):
        token = _pick(logits, temperature, draw)
        if token in ends:
            break
        piece = text.piece(token)
        if piece:
            yield piece
        check()
        logits = steps.next(token)
    rest = text.rest()
    if rest:
        yield rest


@torch.no_grad()
def speed(
    loaded: LoadedLanguageModel, tokens: int = 32, check: Callable[[], None] = lambda: None
) -> float:
    """Tokens a second when writing one text, the first step not counted.

    Args:
        loaded: needs no tokenizer.
        tokens: steps that are timed.
        check: called before every step.
    """
    steps = _Steps(loaded.model)
    embeddings = cast("nn.Embedding", loaded.model.get_input_embeddings())
    vocabulary = embeddings.num_embeddings
    logits = steps.read([number % vocabulary for number in range(1, 9)], check)
    logits = steps.next(int(logits.argmax()))
    start = time.perf_counter()
    for _ in range(tokens):
        check()
        logits = steps.next(int(logits.argmax()))
    return tokens / (time.perf_counter() - start)


class _Steps:
    """One text in a model, with the keys and values of all its tokens kept."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._cache: Any = None
        wanted = inspect.signature(model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in wanted else {}

    def read(self, tokens: list[int], check: Callable[[], None]) -> Tensor:
        """Take in tokens, at least one; returns the logits (vocabulary,) float32 after the last."""
        logits = torch.empty(0)
        for start in range(0, len(tokens), _PREFILL):
            check()
            logits = self._run(tokens[start : start + _PREFILL])
        return logits

    def next(self, token: int) -> Tensor:
        """Take in one token."""
        return self._run([token])

    @torch.no_grad()
    def _run(self, tokens: list[int]) -> Tensor:
        made = self._model(
            input_ids=torch.tensor([tokens], device=self._model.device),
            past_key_values=self._cache,
            use_cache=True,
            **self._last_only,
        )
        self._cache = made.past_key_values
        return made.logits[0, -1].float().cpu()


class TextPieces:
    """Tokens into text as they come: letters whose bytes are not all there yet are held back."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: list[int]) -> None:
        self._tokenizer = tokenizer
        # Some tokenizers drop a space at the beginning, so a few tokens before are decoded along.
        self._tokens = prompt[-4:]
        self._shown = self._decode()

    def piece(self, token: int) -> str:
        """What `token` adds to the text."""
        self._tokens.append(token)
        text = self._decode()
        if text.endswith(_UNFINISHED):
            return ""
        return self._take(text)

    def rest(self) -> str:
        """What was held back."""
        return self._take(self._decode())

    def _take(self, text: str) -> str:
        piece = text[len(self._shown) :]
        # Only a few tokens are kept, so that a long text does not take ever longer to decode.
        self._tokens = self._tokens[-4:]
        self._shown = self._decode()
        return piece

    def _decode(self) -> str:
        return str(
            self._tokenizer.decode(
                self._tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )


def _encode(
    loaded: LoadedLanguageModel, tokenizer: PreTrainedTokenizerBase, prompt: str, chat: bool
) -> list[int]:
    if chat:
        if not tokenizer.chat_template:
            raise UserError(f"{loaded.folder.name} knows no chat; let it continue a text instead")
        message = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        tokens = tokenizer(str(text), add_special_tokens=False)["input_ids"]
    else:
        tokens = tokenizer(prompt)["input_ids"]
    found = [int(token) for token in cast("list[int]", tokens)]
    if found:
        return found
    start = tokenizer.bos_token_id
    if not isinstance(start, int):
        raise UserError("There is nothing to continue; write a few words")
    return [start]


def _room(loaded: LoadedLanguageModel, taken: int) -> int:
    """Tokens that may follow `taken` ones."""
    longest = getattr(loaded.model.config, "max_position_embeddings", None)
    if not isinstance(longest, int):
        return 1 << 30
    if taken >= longest:
        raise UserError(
            f"The text has {taken} tokens, and {loaded.folder.name} takes {longest}; shorten it"
        )
    return longest - taken


def _ends(loaded: LoadedLanguageModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Tokens at which a text is over."""
    found: set[int] = set()
    generation = getattr(loaded.model, "generation_config", None)
    owners: tuple[Any, ...] = (generation, loaded.model.config, tokenizer)
    for owner in owners:
        said: Any = getattr(owner, "eos_token_id", None)
        found.update(said if isinstance(said, list | tuple) else () if said is None else (said,))
    return found


def _pick(logits: Tensor, temperature: float, draw: torch.Generator) -> int:
    if temperature <= 0:
        return int(logits.argmax())
    chances = torch.softmax(logits / temperature, dim=-1)
    return int(torch.multinomial(chances, 1, generator=draw))
