"""Parameters become controls and come back as they were; refusals speak as the form does."""

from __future__ import annotations

from typing import Any, Literal

import gradio as gr
import pytest
from pydantic import model_validator

from engines.base import Params, UserError, option
from engines.raw.eld.params import EldParams
from studio.fields import fields_of, nice_step, prettify, settings_in_words
from studio.forms import Form, free_choices, model_choices

MODELS = [("Small (bundled)", "small"), ("Mine (yours)", "mine")]


class Everything(Params):
    """One field of each kind."""

    slider: float = option(1.0, title="Slider", description="s", unit="EV", ge=0.0, le=2.0)
    open_end: float = option(0.5, title="Open end", description="o", gt=0.0, le=2.0)
    count: int = option(512, title="Count", description="c", unit="px", ge=128, le=4096)
    maybe: float | None = option(None, title="Maybe", description="m", unit="DN", gt=0.0, le=10.0)
    other: float | None = option(None, title="Other", description="m", ge=0.0)
    times: float = option(
        4.0, title="Times", description="x", unit="x", ge=1.0, le=8.0, suggested=(2, 3, 4)
    )
    switch: bool = option(False, title="Switch", description="w")
    few: Literal["a-b", "dng"] = option("dng", title="Few", description="f")
    many: Literal[1, 2, 3, 4, 5, 6] = option(2, title="Many", description="f")
    perhaps: Literal["x", "y"] | None = option(None, title="Perhaps", description="f")
    several: tuple[Literal["tiff", "jpeg"], ...] = option(
        ("tiff",), title="Several", description="s", min_length=1
    )
    words: str = option("hello", title="Words", description="t", max_length=9)
    lines: tuple[str, ...] = option((), title="Lines", description="l", advanced=True)
    strokes: str = option("", title="Strokes", description="b", max_length=99, brush=True)
    weights: str = option("small", title="Weights", description="w", models="net", advanced=True)

    @model_validator(mode="after")
    def _pair(self) -> Everything:
        if self.maybe is not None and self.other is None:
            raise ValueError("Give both or neither")
        return self


def _form(params: type[Params] = Everything) -> Form:
    with gr.Blocks():
        return Form("test.everything", params, lambda _: MODELS)


KINDS = {
    "slider": ("slider", gr.Slider), "open_end": ("number", gr.Number),
    "count": ("number", gr.Number), "maybe": ("number", gr.Textbox),
    "other": ("number", gr.Textbox), "times": ("choice", gr.Radio),
    "switch": ("switch", gr.Checkbox),
    "few": ("choice", gr.Radio), "many": ("choice", gr.Dropdown), "perhaps": ("choice", gr.Radio),
    "several": ("choices", gr.CheckboxGroup), "words": ("text", gr.Textbox),
    "lines": ("lines", gr.Textbox), "strokes": ("brush", gr.Textbox),
    "weights": ("model", gr.Dropdown),
}  # fmt: skip


def test_every_kind_of_parameter_has_its_control() -> None:
    form = _form()
    made = {
        field.name: (field.kind, type(control))
        for field, control in zip(form.fields, form.controls, strict=True)
    }
    assert made == KINDS
    labels = {field.name: field.label for field in form.fields}
    assert labels["slider"] == "Slider (EV)"
    assert labels["switch"] == "Switch"
    assert labels["times"] == "Times"  # the buttons have the unit
    assert [field.name for field in form.fields if field.advanced] == ["lines", "weights"]


def test_strokes_are_told_without_their_numbers() -> None:
    [strokes] = [field for field in fields_of(Everything) if field.name == "strokes"]
    assert strokes.words('{"a.png": [[1, 2, 3]]}') == "strokes on the picture"
    assert strokes.words("") == "none"


def test_suggested_numbers_are_buttons_and_others_are_kept() -> None:
    [times] = [field for field in fields_of(Everything) if field.name == "times"]
    assert times.choices == (("2x", 2), ("3x", 3), ("4x", 4))
    assert free_choices(times, 3.0) == list(times.choices)
    assert free_choices(times, 2.5)[-1] == ("2.5x", 2.5)
    assert [times.holds(value) for value in (2.5, 4, 9.0, "4", True)] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert times.words(2.5) == "2.5x"
    with pytest.raises(UserError, match="Times must be at most 8 x, not 9"):
        _form().checked(Everything, _form().values({"times": 9}))


def test_defaults_go_to_the_controls_and_come_back() -> None:
    form = _form()
    shown = form.values({})
    assert [control.value for control in form.controls] == shown  # type: ignore[attr-defined]
    assert Everything(**form.checked(Everything, shown)) == Everything()


@pytest.mark.parametrize(
    "changed",
    [
        {"slider": 0.0}, {"slider": 2.0}, {"open_end": 0.001}, {"count": 4096},
        {"maybe": 0.0075, "other": 0.0}, {"other": 12.5}, {"switch": True}, {"few": "a-b"},
        {"many": 6}, {"perhaps": "y"}, {"several": ("jpeg", "tiff")}, {"words": ""},
        {"lines": ("one", "two words")}, {"weights": "mine"},
    ],
)  # fmt: skip
def test_every_kind_goes_to_its_control_and_back(changed: dict[str, Any]) -> None:
    form, params = _form(), Everything(**changed)
    shown = form.values(params.model_dump())
    assert shown != form.values({})
    assert Everything(**form.checked(Everything, shown)) == params
    assert form.restored(form.draft(params.model_dump())) == shown


@pytest.mark.parametrize(
    ("name", "typed", "sentence"),
    [
        ("maybe", "abc", "Maybe must be a number, not abc"),
        ("maybe", "0", "Maybe must be more than 0 DN, not 0"),
        ("maybe", "11", "Maybe must be at most 10 DN, not 11"),
        ("maybe", "3,5", "Give both or neither"),
        ("other", "-1", "Other must be at least 0, not -1"),
        ("other", "x" * 60, "Other must be a number, not " + "x" * 39 + "\N{HORIZONTAL ELLIPSIS}"),
        ("count", 7, "Count must be at least 128 px, not 7"),
        ("count", 512.5, "Count must be a whole number, not 512.5"),
        ("count", None, "Count must be a whole number"),
        ("several", [], "Several needs at least 1 chosen"),
        ("words", "0123456789", "Words may hold at most 9; shorten it"),
    ],
)
def test_what_cannot_be_is_one_sentence_in_the_forms_words(
    name: str, typed: Any, sentence: str
) -> None:
    form = _form()
    values = form.values({})
    values[form.names.index(name)] = typed
    with pytest.raises(UserError) as refused:
        form.checked(Everything, values)
    assert str(refused.value) == sentence


def test_what_is_typed_is_read_as_people_write_it() -> None:
    form = _form()
    typed = dict(zip(form.names, form.values({}), strict=True))
    typed |= {"maybe": " 2,5 ", "other": "0.25", "lines": " a \n\n b", "count": 512.0}
    read = Everything(**form.checked(Everything, list(typed.values())))
    assert (read.maybe, read.other, read.lines, read.count) == (2.5, 0.25, ("a", "b"), 512)


def test_a_draft_of_another_release_is_taken_where_it_fits() -> None:
    form = _form()
    default = dict(zip(form.names, form.values({}), strict=True))
    draft = {
        "slider": 9.0, "count": "many", "maybe": "half-typed", "switch": 1, "few": "gone",
        "several": ["tiff", "gone"], "words": "kept", "no_longer": 1, "many": 5,
    }  # fmt: skip
    found = dict(zip(form.names, form.restored(draft), strict=True))
    assert found == default | {"maybe": "half-typed", "words": "kept", "many": 5}
    assert form.restored(["a", "list"]) == list(default.values())
    assert form.restored(None) == list(default.values())


def test_weights_that_are_gone_can_still_be_shown() -> None:
    field = fields_of(Everything)[-1]
    assert model_choices(field, lambda _: MODELS, "mine") == MODELS
    assert model_choices(field, lambda _: MODELS, "gone")[-1] == ("gone (not installed)", "gone")


def test_weights_that_go_by_other_settings_say_so() -> None:
    field = next(field for field in fields_of(EldParams) if field.name == "weights")
    for value in ("", MODELS[0][1]):
        assert model_choices(field, lambda _: MODELS, value) == [("Automatic", ""), *MODELS]


def test_settings_in_words_mark_what_was_changed() -> None:
    values = Everything(slider=0.25, few="a-b", lines=("x",)).model_dump(mode="json")
    rows = {
        title: (text, changed) for title, text, changed in settings_in_words(Everything, values)
    }
    assert rows["Slider"] == ("0.25 EV", True)
    assert rows["Few"] == ("A b", True)
    assert rows["Count"] == ("512 px", False)
    assert rows["Maybe"] == ("automatic", False)
    assert rows["Switch"] == ("off", False)
    assert rows["Several"] == ("TIFF", False)
    assert rows["Lines"] == ("X", True)
    [(title, text, changed)] = settings_in_words(Everything, {"of_old": 3})
    assert (title, text, changed) == ("of_old", "3", True)


def test_a_type_without_a_control_is_the_authors_mistake() -> None:
    class Odd(Params):
        table: dict[str, int] = option({}, title="Table", description="t")

    with pytest.raises(TypeError, match="table"):
        fields_of(Odd)


def test_labels_and_steps() -> None:
    assert prettify("linear-dng") == "Linear DNG"
    assert prettify(2) == "2"
    assert [nice_step(extent) for extent in (2.0, 1.0, 60.0, 40.0)] == [0.05, 0.05, 2.0, 1.0]
