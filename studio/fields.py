"""What an engine's parameters are to a person: titles, units, bounds, words for values.

A field's title, unit, bounds, help, default and "advanced" mark are read off the parameter model,
so that the page, the command line and the stored settings can never say different things. Nothing
here needs the page; the controls are made in `studio.forms`.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from engines.base import Params, is_local

Kind = Literal["slider", "number", "switch", "choice", "choices", "text", "lines", "model", "brush"]

AUTOMATIC = ("Automatic", "")
_ACRONYMS = set(
    "dng tiff jpeg png wav flac mp3 m4a raw cpu gpu fp16 bf16 ode sde eld pnnp hdr".split()
)
_SLIDER_STOPS = 200


@dataclass(frozen=True)
class Field:
    """One parameter as a form shows it.

    `optional` means that empty stands for automatic, `free` that a number need not be among the
    `choices`, `offered` that lines are single words, some of which are on offer by group.
    """

    name: str
    kind: Kind
    title: str
    help: str
    unit: str
    advanced: bool
    default: Any
    optional: bool
    integer: bool = False
    minimum: float | None = None
    maximum: float | None = None
    step: float = 1
    choices: tuple[tuple[str, Any], ...] = ()
    network: str = ""
    max_length: int | None = None
    local: bool = False
    free: bool = False
    offered: Mapping[str, Sequence[str]] | None = None

    @property
    def label(self) -> str:
        """Title and unit as the control's label."""
        return f"{self.title} ({self.unit})" if self.unit and not self.free else self.title

    def shown(self, value: Any) -> Any:
        """A parameter's value -> what its control holds."""
        if value is None:
            return ""
        if self.kind == "choices":
            return list(value)
        if self.kind == "lines":
            return "\n".join(str(line) for line in value)
        return f"{value:g}" if self.kind == "number" and self.optional else value

    def holds(self, value: Any) -> bool:
        """Whether a control can hold this, which a page may have kept from an older release."""
        match self.kind:
            case "slider":
                number = isinstance(value, int | float) and not isinstance(value, bool)
                return number and (self.minimum or 0) <= value <= (self.maximum or 0)
            case "number" if not self.optional:
                return isinstance(value, int | float) and not isinstance(value, bool)
            case "switch":
                return isinstance(value, bool)
            case "choice" if self.free:
                number = isinstance(value, int | float) and not isinstance(value, bool)
                return number and (self.minimum or 0) <= value <= (self.maximum or math.inf)
            case "choice":
                return value in [choice for _, choice in self.choices]
            case "choices":
                known = [choice for _, choice in self.choices]
                return isinstance(value, list) and all(one in known for one in value)
            case _:
                return isinstance(value, str)

    def read(self, value: Any) -> Any:
        """What the control holds -> the parameter's value; the model itself checks it."""
        if self.kind == "choices":
            return list(value) if isinstance(value, list | tuple) else [value] if value else []
        if self.kind == "lines":
            return [line.strip() for line in str(value or "").splitlines() if line.strip()]
        if self.optional and value in (None, ""):
            return None
        if self.kind == "number" and isinstance(value, str):
            return _number(value)
        if self.integer and isinstance(value, float) and value.is_integer():
            return int(value)
        return value

    def words(self, value: Any) -> str:
        """A value as a person reads it, with its unit."""
        if value is None:
            return "automatic"
        if self.kind == "switch":
            return "on" if value else "off"
        if self.free:
            return measured(value, self.unit)
        if self.kind in ("choice", "choices", "lines"):
            values = value if isinstance(value, list | tuple) else [value]
            shown = str if self.offered is not None else prettify  # a person's own words
            return ", ".join(shown(one) for one in values) or "none"
        if self.kind == "brush":
            return "strokes on the picture" if value else "none"
        text = f"{value:g}" if isinstance(value, float) else str(value)
        return f"{text} {self.unit}".strip()


def measured(value: float, unit: str) -> str:
    """A number with its unit; "x" stands at it: 4x, 2.5x."""
    return f"{value:g}{unit}" if unit == "x" else f"{value:g} {unit}".strip()


def prettify(value: Any) -> str:
    """A choice's stored value as its label: "linear-dng" -> "Linear DNG"."""
    words = str(value).replace("-", " ").replace("_", " ").split()
    shown = [word.upper() if word in _ACRONYMS else word for word in words]
    text = " ".join(shown)
    return text[:1].upper() + text[1:]


def fields_of(params: type[Params]) -> list[Field]:
    """All fields of a parameter model in their order.

    Raises:
        TypeError: no control shows a field's type; the engine's author must choose another.
    """
    return [_field(name, info) for name, info in params.model_fields.items()]


def _field(name: str, info: FieldInfo) -> Field:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    kind, optional, choices, integer = _shape(name, info.annotation, bool(extra.get("models")))
    if kind == "text" and extra.get("brush"):
        kind = "brush"
    bounds = _bounds(info)
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    step: float = 1
    if kind == "number" and low is not None and high is not None:
        step = 1 if integer else nice_step(high - low)
        closed = "gt" not in bounds and "lt" not in bounds
        if not optional and closed and (high - low) / step <= _SLIDER_STOPS:
            kind = "slider"
        elif not integer:
            step = min(step, 0.1)
    if optional and kind == "choice":
        choices = (AUTOMATIC, *choices)
    unit = str(extra.get("unit", ""))
    suggested: Any = extra.get("suggested") or ()
    free = bool(suggested) and kind in ("number", "slider") and not optional
    if free:
        kind, choices = "choice", tuple((measured(one, unit), one) for one in suggested)
    return Field(
        name=name,
        kind=kind,
        title=info.title or prettify(name),
        help=info.description or "",
        unit=unit,
        advanced=bool(extra.get("advanced")),
        default=info.get_default(call_default_factory=True),
        optional=optional,
        integer=integer,
        minimum=low,
        maximum=high,
        step=step,
        choices=choices,
        network=str(extra.get("models", "")),
        max_length=bounds.get("max_length"),
        local=is_local(info),
        free=free,
        offered=extra.get("words") if kind == "lines" else None,  # type: ignore[arg-type]
    )


def _shape(
    name: str, annotation: Any, models: bool
) -> tuple[Kind, bool, tuple[tuple[str, Any], ...], bool]:
    optional = False
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [one for one in get_args(annotation) if one is not type(None)]
        optional = len(rest) < len(get_args(annotation))
        annotation = rest[0] if len(rest) == 1 else annotation
    origin = get_origin(annotation)
    if origin is Literal:
        return "choice", optional, _choices(annotation), False
    if origin in (tuple, list):
        item = get_args(annotation)[0]
        if get_origin(item) is Literal:
            return "choices", False, _choices(item), False
        if item is str:
            return "lines", False, (), False
    if annotation is bool:
        return "switch", False, (), False
    if annotation in (int, float):
        return "number", optional, (), annotation is int
    if annotation is str:
        return ("model" if models else "text"), optional, (), False
    raise TypeError(f"no control shows a parameter of this type: {name}: {annotation}")


def _choices(literal: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((prettify(value), value) for value in get_args(literal))


def _bounds(info: FieldInfo) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for constraint in info.metadata:
        for name in ("ge", "gt", "le", "lt", "max_length"):
            value = getattr(constraint, name, None)
            if value is not None:
                found[name] = value
    return found


def nice_step(extent: float) -> float:
    """A slider's step: the 1-2-5 number at or above a fortieth of its range."""
    raw = extent / 40
    power = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))


def _number(typed: str) -> float | str:
    """A typed number, with either decimal sign; what is none stays, for the model to refuse."""
    try:
        return float(typed.strip().replace(",", "."))
    except ValueError:
        return typed.strip()


def refusal(fields: Sequence[Field], error: ValidationError) -> str:
    """The first thing that the model finds wrong, in the words of the form."""
    first: Any = error.errors()[0]
    message = str(first["msg"]).removeprefix("Value error, ")
    field = next((one for one in fields if first["loc"] and one.name == first["loc"][0]), None)
    if field is None:
        return message
    given, limits, unit = first["input"], first.get("ctx", {}), f" {field.unit}".rstrip()
    match str(first["type"]):
        case "greater_than":
            wanted = f"must be more than {limits['gt']:g}{unit}"
        case "greater_than_equal":
            wanted = f"must be at least {limits['ge']:g}{unit}"
        case "less_than":
            wanted = f"must be less than {limits['lt']:g}{unit}"
        case "less_than_equal":
            wanted = f"must be at most {limits['le']:g}{unit}"
        case "too_short":
            return f"{field.title} needs at least {limits['min_length']} chosen"
        case "too_long" | "string_too_long":
            return f"{field.title} may hold at most {limits['max_length']}; shorten it"
        case "float_type" | "float_parsing" | "finite_number":
            wanted = "must be a number"
        case "int_type" | "int_parsing" | "int_from_float":
            wanted = "must be a whole number"
        case _:
            wanted = f"cannot be used, as {message[:1].lower()}{message[1:]}"
    return f"{field.title} {wanted}" + ("" if given is None else f", not {_short(given)}")


def _short(given: Any) -> str:
    text = f"{given:g}" if isinstance(given, float) else str(given)
    return text if len(text) <= 40 else text[:39] + "\N{HORIZONTAL ELLIPSIS}"


def settings_in_words(
    params: type[Params], values: Mapping[str, Any]
) -> list[tuple[str, str, bool]]:
    """Title, value in words and "differs from the default" of each setting of a finished job.

    Settings that the model no longer has are listed under their stored name.
    """
    fields = fields_of(params)
    rows = [
        (field.title, field.words(values[field.name]), _differs(values[field.name], field.default))
        for field in fields
        if field.name in values
    ]
    known = {field.name for field in fields}
    return rows + [(name, str(value), True) for name, value in values.items() if name not in known]


def _differs(value: Any, default: Any) -> bool:
    return list(value) != list(default) if isinstance(value, list | tuple) else value != default
