"""Guessing a password: how long it takes, and what an answer tells."""

from __future__ import annotations

import base64

import pytest

from engines.base import UserError
from studio.options import read_auth
from studio.passwords import Attempts, Passwords, basic


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_a_name_with_its_own_password_comes_in() -> None:
    passwords = Passwords((("ann", "long secret"), ("ben", "another one")))
    assert passwords("ann", "long secret")
    assert not passwords("ann", "another one")
    assert not passwords("eve", "long secret")
    assert not passwords("", "")
    assert not passwords("ann", "long secret\x00")
    assert not Passwords(())("ann", "long secret")


def test_each_wrong_password_makes_the_next_one_wait_longer() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    waits = []
    for _ in range(12):
        clock.now += attempts.wait("10.0.0.1")
        waits.append(attempts.wait("10.0.0.1"))
        attempts.begin("10.0.0.1")
        waits[-1] = attempts.wait("10.0.0.1")
    assert waits[:4] == [0, 0, 0, 0]
    assert waits[4:8] == [30, 60, 120, 240]
    assert attempts.wait("10.0.0.2") == 0
    clock.now += 10_000
    assert attempts.wait("10.0.0.1") == 0


def test_addresses_that_are_made_up_gain_little() -> None:
    attempts = Attempts(Clock())
    for number in range(100):
        assert attempts.wait(f"10.0.0.{number}") == 0
        attempts.begin(f"10.0.0.{number}")
    assert attempts.wait("10.1.1.1") > 0
    house = Attempts(Clock())
    for number in range(5):
        house.begin(f"2001:db8::{number}")
    assert house.wait("2001:db8::99") > 0
    assert house.wait("2001:db8:1::99") == 0


def test_many_at_once_gain_nothing_and_who_knows_it_loses_nothing() -> None:
    attempts = Attempts(Clock())
    begun = [attempts.begin("a") for _ in range(5)]  # none has been answered yet
    assert attempts.wait("a") > 0
    for one in begun:
        attempts.right("a", one)
    assert attempts.wait("a") == 0


@pytest.mark.parametrize("header", ["", "Bearer x", "Basic", "Basic !", "Basic eHh4", "Basic /w=="])
def test_what_is_no_password(header: str) -> None:
    assert basic(header) is None


def test_a_password_may_hold_colons() -> None:
    assert basic("basic " + base64.b64encode(b"me:pass:word").decode()) == ("me", "pass:word")


def test_users_are_given_one_a_line() -> None:
    assert read_auth(["ann:long secret\n\nben:another:one"]) == (
        ("ann", "long secret"), ("ben", "another:one"),
    )  # fmt: skip
    for wrong in (
        "ann",
        "ann:",
        ":secret and long",
        "ann:short",
        "ann:long secret\nann:another one",
    ):
        with pytest.raises(UserError):
            read_auth([wrong])
