"""Reading what somebody looks for."""

from __future__ import annotations

import pytest

from engines.base import UserError
from studio.library.wanted import Bound, Wanted, bounds


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("K > 2", [("K", ">", 2.0)]),
        ("perplexity<20", [("perplexity", "<", 20.0)]),
        ("K >= .5, sigma<= 1e-3", [("K", ">=", 0.5), ("sigma", "<=", 0.001)]),
        ("noise removed > -3 and K=2", [("noise_removed", ">", -3.0), ("K", "=", 2.0)]),
        (" ; ", []),
    ],
)
def test_measured_values_are_read_as_people_write_them(text: str, found: list[object]) -> None:
    assert [(one.name, one.sign, one.value) for one in bounds(text)] == found


@pytest.mark.parametrize(
    "text", ["K", "K > two", "> 2", "K > 2 3", "K >> 2", ",".join(["K>1"] * 6)]
)
def test_what_is_no_comparison_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(UserError, match="asked for as K > 2"):
        Wanted.of({"measured": text})


@pytest.mark.parametrize(
    "values", [{"page": "-1"}, {"sort": "random"}, {"since": "yesterday"}, {"owner": "ben"},
               {"search": "x" * 201}]
)  # fmt: skip
def test_what_nobody_can_look_for_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(UserError, match="cannot be looked for"):
        Wanted.of(values)


def test_the_order_and_the_page_leave_nothing_out() -> None:
    assert not Wanted.of({"sort": "name", "page": "3", "search": " "}).narrowed
    assert Wanted(measured=(Bound(name="K", sign=">", value=2),)).narrowed
