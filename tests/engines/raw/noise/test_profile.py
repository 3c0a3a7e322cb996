"""Camera profiles: what is read from strangers' JSON, and what lies between measured settings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from engines.base import UserError
from engines.raw.noise.cameras import PUBLISHED, named, shipped
from engines.raw.noise.profile import CameraProfile, IsoNoise, laws, parse_profile, read_profile

GOOD: dict[str, Any] = {
    "model": "Acme One", "bits": 14, "bl": 512, "wl": 16383, "lines": {},
    "iso": [
        {"iso": 100, "K": 0.1, "sigma": 1.0, "sigma_tl": 0.6, "lam": 0.1, "sigma_row": 0.1,
         "bias": [0, 0, 0, 0]},
        {"iso": 400, "K": 0.4, "sigma": 4.0, "sigma_tl": 2.4, "lam": 0.0, "sigma_row": 0.4,
         "bias": [1, 0, 0, 2]},
    ],
}  # fmt: skip


def test_what_is_written_is_read_again_and_has_the_agreed_names() -> None:
    profile = parse_profile(json.dumps(GOOD))
    values = json.loads(profile.to_json())
    assert set(values) == {"model", "bits", "bl", "wl", "iso", "lines"}
    assert set(values["iso"][0]) == {"iso", "K", "sigma", "sigma_tl", "lam", "sigma_row", "bias"}
    assert parse_profile(profile.to_json()) == profile


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("no json", "is no JSON"),
        ([1, 2], "has to be a JSON object"),
        ({"iso": []}, "iso"),
        ({"bl": 17000}, "black lies at or above white"),
        ({"iso": [{"iso": 100, "K": -1}]}, "iso.0.K"),
        ({"iso": [{"iso": 100, "K": float("nan")}]}, "iso.0.K"),
        ({"iso": [{"iso": 100, "lam": -3}]}, "iso.0.lam"),
        ({"iso": [{"iso": 100, "bias": [1, 2]}]}, "iso.0.bias"),
        ({"bits": 99}, "bits"),
        ({"model": ""}, "model"),
        ({"hot": [[-1, 2]]}, "hot"),
    ],
)
def test_a_strangers_file_is_refused_with_a_sentence(
    change: Any, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "camera.json"
    whole = GOOD | change if isinstance(change, dict) else change
    file.write_text(whole if isinstance(whole, str) else json.dumps(whole))
    with pytest.raises(UserError, match=said) as caught:
        read_profile(file)
    assert "camera.json" in str(caught.value)


def test_between_settings_scales_run_along_logarithms() -> None:
    profile = parse_profile(json.dumps(GOOD))
    between = profile.at(200)
    assert between.K == pytest.approx(0.2)
    assert between.sigma == pytest.approx(2.0)
    assert between.lam == pytest.approx(0.05)
    assert between.bias == pytest.approx((0.5, 0.0, 0.0, 1.0))
    assert profile.at(800).K == pytest.approx(0.8)  # goes on with the ISO
    assert profile.at(100.5) == profile.at(100)


def test_what_was_not_measured_stays_unknown() -> None:
    darks = CameraProfile(model="Acme", bits=14, bl=0, wl=100, iso=(IsoNoise(iso=100, sigma=2.0),))
    assert darks.at(100).K is None
    assert darks.at(100).sigma == 2.0
    assert darks.at(100).bias is None


def test_laws_are_straight_lines_of_logarithms() -> None:
    iso = [
        IsoNoise(iso=100 * k, K=k, sigma=math.exp(0.8 * math.log(k) + 0.3)) for k in (1, 2, 4, 8)
    ]
    law = laws(iso)["sigma"]
    assert (law.a, law.b) == (pytest.approx(0.8), pytest.approx(0.3))
    assert law.r2 == pytest.approx(1.0)
    assert "sigma_row" not in laws(iso)


def test_published_cameras_are_whole() -> None:
    assert len(PUBLISHED) == 5
    for one in shipped():
        assert all(entry.K and entry.sigma and entry.sigma_tl for entry in one.profile.iso)
    sony = named("sony-a7s-ii").profile.at(6400)
    assert (sony.K, sony.sigma, sony.lam, sony.sigma_row) == (6.120, 7.116, -0.075, 0.722)
    with pytest.raises(UserError, match="There is no camera profile called nobody"):
        named("nobody")
