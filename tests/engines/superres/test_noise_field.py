from __future__ import annotations

import torch

from engines.superres.noise_field import noise_field


def test_any_part_is_cut_from_one_field() -> None:
    whole = noise_field(5, 1, 3, -70, -5, 200, 150)
    part = noise_field(5, 1, 2, -3, 60, 90, 41)
    assert torch.equal(part, whole[:2, 67 : 67 + 90, 65 : 65 + 41])


def test_it_is_standard_normal_and_no_two_places_share_it() -> None:
    field = noise_field(0, 0, 3, 0, 0, 256, 256)
    assert abs(float(field.mean())) < 0.01
    assert abs(float(field.std()) - 1.0) < 0.01
    blocks = field.reshape(3, 4, 64, 4, 64).permute(0, 1, 3, 2, 4).reshape(48, -1)
    alike = torch.corrcoef(blocks) - torch.eye(48)
    assert float(alike.abs().max()) < 0.08  # of 4096 samples


def test_seed_and_stream_change_it() -> None:
    first = noise_field(1, 0, 1, 0, 0, 64, 64)
    assert torch.equal(first, noise_field(1, 0, 1, 0, 0, 64, 64))
    for seed, stream in ((2, 0), (1, 1), (0, 1)):
        other = noise_field(seed, stream, 1, 0, 0, 64, 64)
        assert abs(float((first * other).mean())) < 0.08
