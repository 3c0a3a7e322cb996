"""A recipe: what it holds, whether its steps fit one another, and its file, TOML or JSON.

The file is meant to be read and written by hand:

    name = "night-raw"
    about = "Dark RAW files, denoised and brightened"
    keep = false                # what the steps before the last one make

    [[step]]
    engine = "raw.yond"

    [[step]]
    engine = "raw.noiser"
    params = { output = "tiff" }
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from engines import registry
from engines.base import Engine, MediaKind, UserError, gives
from studio.fields import settings_in_words
from studio.jobs.perform import validation_sentence

MOST_STEPS = 20
LONGEST_NAME = 80
_AUTOMATIC = "automatic"
_KNOWN = {"name", "about", "keep", "step", "steps", "version"}
_KINDS: Mapping[MediaKind, str] = {
    "raw": "RAW files", "image": "pictures", "audio": "sounds", "video": "films",
    "model": "models", "document": "documents", "profile": "camera profiles",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One engine; `params` are the settings that are not its defaults."""

    engine: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def title(self) -> str:
        """The engine's title; its id where it is not there."""
        try:
            return registry.engine_class(self.engine).title
        except (UserError, ImportError):
            return self.engine

    @property
    def words(self) -> str:
        """Its settings as a person reads them."""
        try:
            model = registry.engine_class(self.engine).Params
        except (UserError, ImportError):
            return ""
        rows = settings_in_words(model, self.params)
        return ", ".join(f"{title} {value}" for title, value, _ in rows)


@dataclass(frozen=True)
class Recipe:
    """Steps in their order.

    Attributes:
        name: what it is called.
        steps: at least one.
        about: one line for people.
        keep: whether what the steps before the last one make is kept.
        id: of its row; "" of one that ships or is not kept here.
        shipped: it comes with the studio and stays as it is.
    """

    name: str
    steps: tuple[Step, ...]
    about: str = ""
    keep: bool = False
    id: str = ""
    shipped: bool = False

    @property
    def first(self) -> type[Engine]:
        """The engine that takes the files."""
        return registry.engine_class(self.steps[0].engine)

    def content(self) -> dict[str, Any]:
        """What its file says, without its name."""
        return {
            "about": self.about,
            "keep": self.keep,
            "steps": [{"engine": one.engine, "params": dict(one.params)} for one in self.steps],
        }

    def to_toml(self) -> str:
        """Its file."""
        lines = [f"name = {_toml(self.name)}"]
        lines += [f"about = {_toml(self.about)}"] if self.about else []
        lines += [f"keep = {_toml(self.keep)}"]
        for step in self.steps:
            lines += ["", "[[step]]", f"engine = {_toml(step.engine)}"]
            if step.params:
                lines += ["[step.params]"]
                lines += [f"{key} = {_toml(value)}" for key, value in step.params.items()]
        return "\n".join(lines) + "\n"


def checked(recipe: Recipe) -> Recipe:
    """The recipe with checked settings, of which those that are the defaults are left out.

    Raises:
        UserError: an engine or a setting is not known, or a step cannot take what the one before
            gives; the sentence names the step.
    """
    if not recipe.steps:
        raise UserError("A recipe needs at least one step")
    if len(recipe.steps) > MOST_STEPS:
        raise UserError(f"A recipe has at most {MOST_STEPS} steps")
    steps: list[Step] = []
    before: tuple[str, tuple[MediaKind, ...]] | None = None
    for number, step in enumerate(recipe.steps, 1):
        engine, params = _settings(number, step)
        if before is not None and not set(before[1]) & set(engine.accepts):
            raise UserError(
                f"Step {number} ({engine.title}) takes {_words(engine.accepts)}, and step "
                f"{number - 1} ({before[0]}) gives {_words(before[1])}; choose another output "
                "there, or another step"
            )
        before = engine.title, gives(engine, params)
        steps.append(Step(step.engine, _changed(params)))
    return Recipe(
        named(recipe.name), tuple(steps), recipe.about.strip()[:300], recipe.keep, recipe.id,
        recipe.shipped,
    )  # fmt: skip


def handed(recipe: Recipe) -> list[str]:
    """What each step hands on, in words: the first kind of its outputs that the next one takes.

    "" stands at the last step, and where it cannot be told.
    """
    words: list[str] = []
    for step, following in zip(recipe.steps, recipe.steps[1:], strict=False):
        try:
            engine, takes = map(registry.engine_class, (step.engine, following.engine))
            given = gives(engine, engine.Params.model_validate(dict(step.params)))
            kinds: list[MediaKind] = [kind for kind in given if kind in takes.accepts]
        except (UserError, ImportError, ValidationError):
            words.append("")
            continue
        words.append(_words(kinds[:1]))
    return [*words, ""]


def named(name: str) -> str:
    """A recipe's or a preset's name without what could not be typed again.

    Raises:
        UserError: nothing is left of it.
    """
    clean = "".join(letter for letter in name if letter.isprintable()).strip()[:LONGEST_NAME]
    if not clean:
        raise UserError("A name is needed; type one")
    return clean


def _settings(number: int, step: Step) -> tuple[type[Engine], Any]:
    if step.engine not in registry.engine_ids():
        raise UserError(
            f"Step {number} names an engine that is not here; `engines` lists those that are: "
            f"{step.engine[:80]}"
        )
    engine = registry.engine_class(step.engine)
    fields = engine.Params.model_fields
    params = {
        name: None if value == _AUTOMATIC and name in fields and _optional(fields[name]) else value
        for name, value in step.params.items()
    }
    try:
        return engine, engine.Params.model_validate(params)
    except ValidationError as error:
        raise UserError(f"Step {number} ({engine.title}): {validation_sentence(error)}") from error


def _optional(info: FieldInfo) -> bool:
    return type(None) in get_args(info.annotation)


def _changed(params: Any) -> dict[str, Any]:
    """Settings that are not the defaults, as JSON has them."""
    fields = type(params).model_fields
    kept = params.model_dump(mode="json")
    return {
        name: value
        for name, value in kept.items()
        if getattr(params, name) != fields[name].get_default(call_default_factory=True)
    }


def _words(kinds: Sequence[MediaKind]) -> str:
    return " and ".join(_KINDS[kind] for kind in dict.fromkeys(kinds))


def from_text(text: str, name: str = "") -> Recipe:
    """A recipe out of its file's text; `name` is what it is called where the file says nothing.

    Raises:
        UserError: it is neither TOML nor JSON, or no recipe.
    """
    found = _parsed(text)
    steps = found.get("step", found.get("steps"))
    unknown = sorted(set(found) - _KNOWN)
    if unknown:
        raise UserError(f"A recipe has no {unknown[0]}; it has name, about, keep and step")
    if not isinstance(steps, list) or not steps:
        raise UserError('This is no recipe; it needs a [[step]] with engine = "..."')
    recipe = Recipe(
        str(found.get("name", name)), tuple(map(_step, cast("list[object]", steps))),
        str(found.get("about", "")), found.get("keep") is True,
    )  # fmt: skip
    return checked(recipe)


def _parsed(text: str) -> dict[str, Any]:
    try:
        if text.lstrip().startswith("{"):
            found: object = json.loads(text)
        else:
            found = tomllib.loads(text)
    except ValueError as error:  # of both readers
        raise UserError(f"This recipe cannot be read: {error}") from error
    except RecursionError as error:
        raise UserError("This recipe cannot be read: it is nested too deeply") from error
    if not isinstance(found, dict):
        raise UserError('This is no recipe; it needs a [[step]] with engine = "..."')
    return cast("dict[str, Any]", found)


def _step(found: object) -> Step:
    if not isinstance(found, dict):
        raise UserError('A step of a recipe says engine = "..." and may have params')
    values = cast("dict[str, Any]", found)
    unknown = sorted(set(values) - {"engine", "params"})
    if unknown:
        raise UserError(f"A step has no {unknown[0]}; settings stand in its params")
    params = values.get("params", {})
    if not isinstance(values.get("engine"), str) or not isinstance(params, dict):
        raise UserError('A step of a recipe says engine = "..." and may have params')
    return Step(values["engine"], cast("dict[str, Any]", params))


def _toml(value: Any) -> str:
    """A value in TOML: JSON's strings, numbers and lists are the same there.

    None, which TOML has not, is written as "automatic", as on the command line.
    """
    return json.dumps(_AUTOMATIC if value is None else value, ensure_ascii=False)
