"""From an engine's parameter model to the page's controls and back: the only place where both meet.

A field's title, unit, bounds, help, default and "advanced" mark are read off the model, so that
the page, the command line and the stored settings can never say different things.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, Union, get_args, get_origin

import gradio as gr
from gradio.components import Component
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from engines.base import Params, UserError, is_local
from studio.markup import render

Kind = Literal["slider", "number", "switch", "choice", "choices", "text", "lines", "model"]
ModelChoices = Callable[[str], Sequence[tuple[str, str]]]

_AUTOMATIC = ("Automatic", "")
_ACRONYMS = set("dng tiff jpeg png wav flac mp3 m4a raw cpu gpu fp16 bf16 ode sde eld pnnp".split())
_RADIO_CHOICES = 4
_SLIDER_STOPS = 200
_HINT = "Type one, press Enter"


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
        choices = (_AUTOMATIC, *choices)
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


def build_control(
    field: Field, models: ModelChoices, elem_id: str, *, visible: bool = True
) -> Component:
    """Make the Gradio control of a field, holding its default."""
    common: dict[str, Any] = {
        "visible": visible,
        "label": field.label,
        "info": field.help,
        "value": field.shown(field.default),
        "elem_id": elem_id,
        "interactive": True,
    }
    match field.kind:
        case "slider":
            return gr.Slider(
                minimum=field.minimum or 0,
                maximum=field.maximum or 0,
                step=field.step,
                buttons=["reset"],
                **common,
            )
        case "number" if field.optional:
            # Gradio's number field shows 0 where nothing is set; empty has a meaning here.
            return gr.Textbox(placeholder="automatic", max_lines=1, **common)
        case "number":
            # No bounds here: Gradio's refusal would name neither the setting nor what is allowed.
            return gr.Number(step=field.step, **common)
        case "switch":
            return gr.Checkbox(**common)
        case "choice" if field.free:
            return gr.Radio(choices=free_choices(field, field.default), **common)
        case "choice" if len(field.choices) <= _RADIO_CHOICES:
            return gr.Radio(choices=list(field.choices), **common)
        case "choice":
            return gr.Dropdown(choices=list(field.choices), **common)
        case "choices":
            return gr.CheckboxGroup(choices=list(field.choices), **common)
        case "model":
            return gr.Dropdown(choices=model_choices(field, models, field.default), **common)
        case "text":
            return gr.Textbox(max_length=field.max_length, **common)
        case "lines" if field.offered is not None:
            made = gr.Textbox(lines=1, elem_classes="ns-worded", **common)
            html = render(
                "words.html", field=elem_id, groups=list(field.offered.items()), hint=_HINT
            )
            gr.HTML(html, apply_default_css=False, elem_classes="ns-words", visible=visible)
            return made
        case "lines":
            return gr.Textbox(lines=3, placeholder="one a line", **common)


def model_choices(field: Field, models: ModelChoices, value: str) -> list[tuple[str, str]]:
    """Label and id of the weights that a field may name, `value` among them in any case."""
    known = list(models(field.network))
    if value not in [one for _, one in known]:
        known.append((f"{value} (not installed)", value))
    return known


def free_choices(field: Field, value: float) -> list[tuple[str, Any]]:
    """The numbers that a field suggests, `value` among them in any case."""
    known = list(field.choices)
    if value not in [one for _, one in known]:
        known.append((measured(value, field.unit), value))
    return known


def _number(typed: str) -> float | str:
    """A typed number, with either decimal sign; what is none stays, for the model to refuse."""
    try:
        return float(typed.strip().replace(",", "."))
    except ValueError:
        return typed.strip()


class Form:
    """The controls of one engine, built where it is constructed (inside a Blocks context)."""

    def __init__(
        self,
        engine_id: str,
        params: type[Params],
        models: ModelChoices,
        *,
        shared: bool = False,
        first: Sequence[str] = (),
        only_with: Mapping[str, tuple[str, Any]] = MappingProxyType({}),
    ) -> None:
        """Build the essential controls, and the others under Advanced.

        Args:
            engine_id: for the controls' ids.
            params: whose fields they show.
            models: weights that may be chosen.
            shared: strangers reach the studio; what names something on its machine is not shown.
            first: fields that stand before the others.
            only_with: field -> (another field, its value) without which it has no meaning; it is
                shown only then.
        """
        self.engine_id = engine_id
        named = fields_of(params)
        order = {name: place for place, name in enumerate(first)}
        self.fields = sorted(named, key=lambda field: order.get(field.name, len(order)))
        self._hidden = {field.name for field in self.fields if field.local and shared}
        defaults = {field.name: field.default for field in self.fields}
        self._only_with = {
            name: (other, value)
            for name, (other, value) in only_with.items()
            if name in defaults and other in defaults
        }
        made: dict[str, Component] = {}

        def build(advanced: bool) -> None:
            for field in self.fields:
                if field.advanced is advanced:
                    elem_id = f"{engine_id.replace('.', '-')}-{field.name}"
                    other, value = self._only_with.get(field.name, (field.name, field.default))
                    visible = field.name not in self._hidden and defaults[other] == value
                    made[field.name] = build_control(field, models, elem_id, visible=visible)

        build(advanced=False)
        advanced = [field for field in self.fields if field.advanced]
        if advanced:
            seen = any(field.name not in self._hidden for field in advanced)
            with gr.Accordion("Advanced", open=False, visible=seen, elem_classes="ns-advanced"):
                build(advanced=True)
        self.controls: list[Component] = [made[field.name] for field in self.fields]

    def wire(self, **event: Any) -> None:
        """Let fields come and go with those that give them a meaning; `event` goes to Gradio."""
        controls = dict(zip(self.names, self.controls, strict=True))
        for other in {other for other, _ in self._only_with.values()}:
            dependent = {n: value for n, (o, value) in self._only_with.items() if o == other}
            controls[other].change(  # type: ignore[attr-defined]
                partial(_shown_with, list(dependent.values())),
                [controls[other]],
                [controls[name] for name in dependent],
                **event,
            )

    def params(self, values: Sequence[Any]) -> dict[str, Any]:
        """The controls' values in order -> parameters by name."""
        return {
            field.name: field.read(value) for field, value in zip(self.fields, values, strict=True)
        }

    def values(self, params: Mapping[str, Any]) -> list[Any]:
        """Parameters by name -> the controls' values in order; what is not named is the default."""
        return [
            field.shown(
                field.default
                if field.name in self._hidden
                else params.get(field.name, field.default)
            )
            for field in self.fields
        ]

    def draft(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters by name -> what the page keeps of a form: what its controls hold, by name."""
        return dict(zip(self.names, self.values(params), strict=True))

    def restored(self, draft: Any) -> list[Any]:
        """The controls' values in order from a draft; what it lacks or garbles is the default."""
        kept = draft if isinstance(draft, dict) else {}
        return [
            kept[field.name]
            if field.name in kept
            and field.name not in self._hidden
            and field.holds(kept[field.name])
            else field.shown(field.default)
            for field in self.fields
        ]

    @property
    def names(self) -> list[str]:
        """Parameters' names in the order of the controls."""
        return [field.name for field in self.fields]

    def checked(self, params: type[Params], values: Sequence[Any]) -> dict[str, Any]:
        """The controls' values in order -> parameters by name that the model has accepted.

        Raises:
            UserError: one is out of bounds; the sentence calls it as the form does.
        """
        given = self.params(values)
        try:
            params.model_validate(given)
        except ValidationError as error:
            raise UserError(_refusal(self.fields, error)) from error
        return given


def _shown_with(wanted: Sequence[Any], value: Any) -> Any:
    updates = [gr.update(visible=value == one) for one in wanted]
    return updates if len(updates) > 1 else updates[0]


def _refusal(fields: Sequence[Field], error: ValidationError) -> str:
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
