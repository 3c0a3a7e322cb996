"""Models over any network: transforms, the guard, noise, and who hears which channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from engines.speech.model import Noise, Transform, Watch, guard
from engines.speech.route import Router
from kernels.stft import Stft
from tests.engines.speech.make_sound import HOP, gate, hiss, meter, model, voice


@pytest.mark.parametrize(
    "transform",
    [
        Transform(Stft(510, 128), "exponent", 0.5, 0.15, 64),
        Transform(Stft(510, 128), "exponent", 0.667, 0.065, 64, mirrored=True),
        Transform(Stft(510, 128), "log", 1.0, 0.3, 16),
        Transform(Stft(512, 256, "sqrt-hann"), "none"),
    ],
)
def test_transforms_there_and_back(transform: Transform) -> None:
    wave = torch.from_numpy(voice(1.0, 16_000))[None, : 128 * 120]
    spec = transform.forward(wave)
    assert spec.shape[-1] % transform.multiple == 0
    back = transform.inverse(transform.expand(spec), wave.shape[1])
    assert float((back - wave).abs().max()) < 1e-5


def test_short_sounds_are_filled_with_zeros_where_they_cannot_be_mirrored() -> None:
    transform = Transform(Stft(510, 128), multiple=64, mirrored=True)
    spec = transform.forward(torch.rand(1, 1024))
    assert spec.shape[-1] == 64
    assert float(spec[..., 9:].abs().max()) == 0.0


def test_the_guard_limits_and_trusts_the_estimate_in_noise() -> None:
    y = torch.full((1, 4, 12), 0.1, dtype=torch.complex64)
    d = y.clone()
    d[..., 6:] *= 0.01  # hardly any speech there
    made_up = torch.full_like(y, 5.0)
    safe = guard(made_up, y, d)
    assert torch.allclose(safe[..., :4].abs(), torch.full((1, 4, 4), 0.15), rtol=1e-4)
    assert torch.allclose(safe[..., 8:], d[..., 8:], atol=1e-6)
    kept = guard(0.9 * y, y, y.clone())
    assert torch.allclose(kept, 0.9 * y), "what is no louder stays"
    assert torch.allclose(guard(made_up, y, None).abs(), torch.full((1, 4, 12), 0.15), rtol=1e-4)


def drawing(y: Tensor, d: Tensor, noise: Noise, watch: Watch) -> Tensor:
    """A sampler that only draws."""
    watch.check()
    watch.called()
    return noise(0, y.shape)


def test_channels_of_a_chunk_draw_the_same_noise_and_chunks_their_own() -> None:
    made = model(None, drawing)
    waves = torch.rand(3, 40 * HOP)
    out = made.enhance(waves, [0, 0, 40], meter())
    assert torch.equal(out.wave[0], out.wave[1])
    assert not torch.allclose(out.wave[0], out.wave[2])


def stereo(seconds: float = 2.0) -> np.ndarray:
    speech = voice(seconds, 16_000)[: 120 * HOP]
    noise = [hiss(len(speech), 0.03, seed) for seed in (1, 2)]
    return np.stack([speech + noise[0], 0.4 * speech + noise[1]])


def test_linked_channels_stay_where_they_are() -> None:
    chunk = stereo()
    watch = meter()
    out = Router(model(gate), "linked", 1e-4, watch).run([0], [chunk])[0]
    assert watch.calls == 1
    left, right = out[:2]
    mid = Router(model(gate), "each", 1e-4, meter()).run([0], [chunk.mean(axis=0)[None]])[0][0]
    assert np.allclose((left + right) / 2, mid, atol=1e-5)
    loud = slice(8 * HOP, 100 * HOP)
    ratio = float(np.dot(left[loud], right[loud]) / np.dot(left[loud], left[loud]))
    assert ratio == pytest.approx(0.4, abs=0.05)


def test_linked_where_all_channels_are_the_same_is_mono() -> None:
    chunk = np.repeat(stereo()[:1], 2, axis=0)
    out = Router(model(gate), "linked", 1e-4, meter()).run([0], [chunk])[0]
    alone = Router(model(gate), "each", 1e-4, meter()).run([0], [chunk[:1]])[0]
    assert np.array_equal(out[0], out[1])
    assert np.allclose(out[0], alone[0], atol=1e-6)


def test_each_channel_by_itself_and_equal_ones_once() -> None:
    chunk = np.concatenate([stereo(), stereo()[:1], np.zeros((1, 120 * HOP), np.float32)])
    watch = meter()
    router = Router(model(gate), "each", 1e-4, watch)
    assert router.rows(chunk) == 2
    out = router.run([0], [chunk])[0]
    assert watch.calls == router.calls([chunk]) == 1
    assert np.array_equal(out[0], out[2])
    assert np.array_equal(out[3], chunk[3])
    alone = Router(model(gate), "each", 1e-4, meter()).run([0], [chunk[1:2]])[0]
    assert np.allclose(out[1], alone[0], atol=1e-6)


def test_linked_channels_of_a_model_that_draws_go_one_by_one() -> None:
    watch = meter()
    Router(model(gate, drawing), "linked", 1e-4, watch).run([0], [stereo()])
    assert watch.calls == 2, "estimate and sampler, both channels in one batch"


def test_silence_is_not_shown_to_a_network() -> None:
    def never(y: Tensor) -> Tensor:
        raise AssertionError("there is nothing to hear")

    chunk = np.full((2, 50 * HOP), 5e-5, dtype=np.float32)
    out = Router(model(never), "linked", 1e-4, meter()).run([0], [chunk])[0]
    assert np.array_equal(out, np.concatenate([chunk, chunk]))


def test_what_a_network_adds_in_silence_is_not_heard() -> None:
    chunk = stereo()
    chunk[:, 40 * HOP : 80 * HOP] = 0.0
    out = Router(model(lambda y: y + 0.05), "linked", 1e-4, meter()).run([0], [chunk])[0]
    assert float(np.abs(out[:2, 44 * HOP : 76 * HOP]).max()) == 0.0
    assert float(np.abs(out[:2, : 30 * HOP]).max()) > 0.1
