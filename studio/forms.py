"""The page's controls of an engine's parameters, and from what they hold back to values.

What there is to show of a parameter is in `studio.fields`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import ValidationError

from engines.base import Params, UserError
from studio.fields import AUTOMATIC, Field, fields_of, measured, refusal
from studio.markup import render

ModelChoices = Callable[[str], Sequence[tuple[str, str]]]

_RADIO_CHOICES = 4
_HINT = "Type one, press Enter"


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
        case "brush":
            # The preview of the tab writes into it (assets/js/brush.js).
            classes = ["ns-brush"]
            return gr.Textbox(max_length=field.max_length, elem_classes=classes, **common)
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
    if field.default == "":  # goes by the other settings
        known.insert(0, AUTOMATIC)
    if value not in [one for _, one in known]:
        known.append((f"{value} (not installed)", value))
    return known


def free_choices(field: Field, value: float) -> list[tuple[str, Any]]:
    """The numbers that a field suggests, `value` among them in any case."""
    known = list(field.choices)
    if value not in [one for _, one in known]:
        known.append((measured(value, field.unit), value))
    return known


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
            raise UserError(refusal(self.fields, error)) from error
        return given


def _shown_with(wanted: Sequence[Any], value: Any) -> Any:
    updates = [gr.update(visible=value == one) for one in wanted]
    return updates if len(updates) > 1 else updates[0]
