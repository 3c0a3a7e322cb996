"""`--param name=value`: from what was typed to values that an engine's model can check."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin

from engines.base import Params, UserError

_AUTOMATIC = ("", "automatic", "none")


def read(params: type[Params], given: Sequence[str]) -> dict[str, Any]:
    """Values by name; bounds and unknown names are left for the model to refuse.

    Raises:
        UserError: something is not of the form name=value, or one value too many was given.
    """
    texts: dict[str, list[str]] = {}
    for pair in given:
        name, sign, text = pair.partition("=")
        if not sign or not name.strip():
            raise UserError(f"A parameter is given as NAME=VALUE: {pair}")
        texts.setdefault(name.strip(), []).append(text.strip())
    return {name: _value(params, name, found) for name, found in texts.items()}


def _value(params: type[Params], name: str, texts: list[str]) -> Any:
    info = params.model_fields.get(name)
    if info is None:
        return texts[0]
    annotation, optional = _without_none(info.annotation)
    if get_origin(annotation) in (tuple, list):
        item = get_args(annotation)[0]
        return [_choice(item, text) for text in texts if text]
    if len(texts) > 1:
        raise UserError(f"{name} takes one value and was given {len(texts)}: {', '.join(texts)}")
    value = _choice(annotation, texts[0])
    if optional and isinstance(value, str) and value.lower() in _AUTOMATIC:
        return None
    return value


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    rest = [one for one in get_args(annotation) if one is not type(None)]
    return rest[0], len(rest) < len(get_args(annotation))


def _choice(annotation: Any, text: str) -> Any:
    """One of a Literal's own values where the text names it: "2" may be the number 2."""
    if get_origin(annotation) is Literal:
        return next((one for one in get_args(annotation) if str(one) == text), text)
    return text
