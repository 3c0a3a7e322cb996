"""PSNR and SSIM of luma."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from engines.superres.metrics.fidelity import luma, psnr_y, rounded, ssim_y


def test_luma_of_black_and_white_is_of_studio_range() -> None:
    ends = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert luma(ends).flatten().tolist() == pytest.approx([16.0, 235.0])


def test_psnr_of_a_known_error() -> None:
    truth = torch.full((1, 3, 32, 32), 0.5)
    found = truth + 2.0 / 255.0
    # Two levels of RGB are 2 * 219 / 255 levels of luma.
    step = 2.0 * 219.0 / 255.0
    assert psnr_y(found, truth, 4) == pytest.approx(20 * np.log10(255.0 / step), abs=1e-3)


def test_the_border_is_left_out() -> None:
    truth = torch.rand(1, 3, 32, 32)
    found = truth.clone()
    found[..., :4, :] = 0.0
    assert psnr_y(found, truth, 4) > 100.0
    assert psnr_y(found, truth, 0) < 40.0


def test_ssim_agrees_with_scikit_image() -> None:
    generator = torch.Generator().manual_seed(1)
    truth = torch.rand(1, 3, 48, 40, generator=generator)
    found = (truth + 0.1 * torch.randn(1, 3, 48, 40, generator=generator)).clamp(0, 1)
    theirs = structural_similarity(
        luma(found)[0, 0].numpy(), luma(truth)[0, 0].numpy(), data_range=255.0,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False, win_size=11, full=True,
    )[1][5:-5, 5:-5].mean()  # fmt: skip
    assert ssim_y(found, truth, 0) == pytest.approx(float(theirs), abs=1e-4)


def test_rounded_is_what_a_file_holds() -> None:
    x = torch.tensor([-0.1, 0.5004, 1.2])
    assert (rounded(x) * 255.0).tolist() == pytest.approx([0.0, 128.0, 255.0])
