"""SGMSE+ and StoRM checkpoints in the form in which their authors publish them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engines import weights
from engines.base import UserError
from engines.speech.checkpoint import SGMSE, STORM
from engines.speech.ncsnpp import NCSNpp
from engines.speech.official import Sgmse, Storm
from engines.speech.sde import OUVE, SBVE
from engines.speech.settings import SgmseSettings, Size, StormSettings

SIZE: dict[str, Any] = {"nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attention": (1,)}
LIGHT: dict[str, Any] = SIZE | {"attention": (), "centred": False}
# what SGMSE+'s training script writes beside the tensors
SGMSE_SAYS: dict[str, Any] = {
    "backbone": "ncsnpp",
    "sde": "ouve",
    "nf": 8,
    "ch_mult": [1, 2],
    "num_res_blocks": 1,
    "attn_resolutions": [128],
    "centered": True,
    "sr": 16000,
    "loss_type": "score_matching",
    "network_scaling": None,
    "theta": 1.5,
    "sigma_min": 0.05,
    "sigma_max": 0.5,
    "N": 30,
    "t_eps": 0.03,
    "n_fft": 510,
    "hop_length": 128,
    "window": "hann",
    "spec_factor": 0.15,
    "spec_abs_exponent": 0.5,
    "transform_type": "exponent",
    "format": "default",
    "base_dir": "/data/VB-DMD",
}
STORM_SAYS: dict[str, Any] = {
    "backbone_denoiser": "none",
    "backbone_score": "none",
    "sde": "ouve",
    "mode": "regen-joint-training",
    "condition": "both",
    "theta": 1.5,
    "sigma-min": 0.05,
    "sigma-max": 0.5,
    "sde_n": 1000,
    "spec_factor": 0.33,
    "spatial_channels": 1,
    "format": "wsj0",
}


def network(**others: Any) -> NCSNpp:
    """A network with random weights of its own."""
    made = NCSNpp(**(SIZE | others))
    generator = torch.Generator().manual_seed(len(str(others)))
    for parameter in made.parameters():
        nn.init.normal_(parameter, 0.0, 0.3, generator)
    return made.eval().requires_grad_(False)


def named(prefix: str, made: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value.clone() for key, value in made.state_dict().items()}


Write = Callable[..., Path]


@pytest.fixture
def lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a checkpoint as Lightning does: the data module's class is pickled by its name."""

    def write(
        tensors: Mapping[str, Tensor],
        says: Mapping[str, Any],
        ema: list[Tensor] | None = None,
        version: str = "2.1.0",
        **beside: Any,
    ) -> Path:
        package, module = ModuleType("sgmse"), ModuleType("sgmse.data_module")
        cls = type("SpecsDataModule", (), {"__module__": "sgmse.data_module"})
        module.SpecsDataModule = cls  # pyright: ignore[reportAttributeAccessIssue]
        content: dict[str, Any] = {
            "epoch": 3,
            "pytorch-lightning_version": version,
            "state_dict": dict(tensors),
            "loops": {"fit_loop": {"state_dict": {}}},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}],
            "hparams_name": "kwargs",
            "hyper_parameters": {**says, "data_module_cls": cls},
            **beside,
        }
        if ema is not None:
            content["ema"] = {
                "decay": 0.999,
                "num_updates": 7,
                "shadow_params": ema,
                "collected_params": None,
            }
        file = tmp_path / "official.ckpt"
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "sgmse", package)
            patch.setitem(sys.modules, "sgmse.data_module", module)
            torch.save(content, file)
        assert "sgmse.data_module" not in sys.modules
        return file

    return write


def convert(source: Path) -> weights.ModelFile:
    return weights.convert(source, source.with_name("converted.safetensors"))


def sgmse(made: NCSNpp, lightning: Write, **says: Any) -> tuple[weights.ModelFile, Sgmse]:
    file = convert(lightning(named("dnn.", made), SGMSE_SAYS | says))
    loaded = weights.load(file, "cpu").network
    assert isinstance(loaded, Sgmse)
    return file, loaded


def inputs(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    return list(torch.randn(count, 2, 16, 8, dtype=torch.complex64, generator=generator))


T = torch.tensor([0.2, 0.9])

# SGMSE+


def test_a_published_sgmse_checkpoint(lightning: Write) -> None:
    made = network()
    file, loaded = sgmse(made, lightning)
    assert file.network == "speech.sgmse/ncsnpp"
    assert file.state == "yours"
    assert file.title == "SGMSE+, 16 kHz (official)"
    x, y = inputs(2)
    torch.testing.assert_close(loaded.score(x, y, T), -made(torch.stack((x, y), 1), T)[:, 0])
    assert loaded.sde == OUVE(1.5, 0.05, 0.5)
    assert not loaded.bridges
    settings = loaded.settings
    assert settings.signal.model_dump() == {
        "rate": 16000,
        "n_fft": 510,
        "hop": 128,
        "window": "hann",
        "transform": "exponent",
        "exponent": 0.5,
        "factor": 0.15,
        "padding": "zeros",
        "frames": 64,
    }
    assert settings.network == Size(**SIZE)
    assert (settings.sampling.steps, settings.sampling.snr) == (30, 0.5)
    assert settings.sampling.step_rule == "grid"
    assert settings.task == "denoise"
    assert json.loads(file.path.with_suffix(".json").read_text())["config"] == file.config


def test_the_averaged_weights_are_taken(lightning: Write) -> None:
    made, average = network(), network(spectra=2, centred=True)
    ema = [p.clone() for p in average.parameters()]
    assert not torch.equal(ema[0], next(made.parameters()))
    file = convert(lightning(named("dnn.", made), SGMSE_SAYS, ema))
    stored = load_file(file.path)
    assert all(torch.equal(stored[k], v) for k, v in average.state_dict().items())


def test_averages_of_trained_parameters_alone(lightning: Write) -> None:
    made, average = network(), network(spectra=2, centred=True)
    ema = [p.clone() for name, p in average.named_parameters() if name != "all_modules.0.W"]
    stored = load_file(convert(lightning(named("dnn.", made), SGMSE_SAYS, ema)).path)
    assert torch.equal(stored["all_modules.0.W"], made.state_dict()["all_modules.0.W"])
    assert torch.equal(stored["output_layer.bias"], average.state_dict()["output_layer.bias"])


def test_averages_that_do_not_fit_are_refused(lightning: Write) -> None:
    made = network()
    ema = [p.clone() for p in made.parameters()]
    with pytest.raises(UserError, match=r"^official.ckpt has averages of 3 tensors for a network"):
        convert(lightning(named("dnn.", made), SGMSE_SAYS, ema[:3]))
    with pytest.raises(UserError, match=r"another order .* seen at output_layer.weight"):
        convert(lightning(named("dnn.", made), SGMSE_SAYS, ema[::-1]))


def test_a_pesq_loss_is_left_out(lightning: Write) -> None:
    made = network(backbone="ncsnpp_v2")
    tensors = named("dnn.", made) | {"pesq_loss.fbank": torch.zeros(3)}
    says = SGMSE_SAYS | {"backbone": "ncsnpp_v2", "sde": "sbve", "loss_type": "data_prediction"}
    ema = [p.clone() for p in made.parameters()]
    for averages in (ema, [*ema, torch.zeros(3)]):
        file = convert(lightning(tensors, says | {"k": 2.6, "c": 0.4, "N": 50}, averages))
        loaded = weights.load(file, "cpu").network
        assert isinstance(loaded, Sgmse)
        assert set(loaded.state_dict()) == set(made.state_dict())


def test_the_48_khz_model(lightning: Write) -> None:
    says = {
        "backbone": "ncsnpp_48k",
        "attn_resolutions": [],
        "progressive": "none",
        "progressive_input": "none",
        "n_fft": 1534,
        "hop_length": 384,
        "spec_factor": 0.065,
        "spec_abs_exponent": 0.667,
        "theta": 2.0,
        "sigma_min": 0.1,
        "sigma_max": 1.0,
    }
    made = network(backbone="ncsnpp_48k", attention=(), pyramid=False)
    file, loaded = sgmse(made, lightning, **says)
    assert file.title == "SGMSE+, 48 kHz (official)"
    signal = loaded.settings.signal
    assert (signal.rate, signal.n_fft, signal.hop) == (48000, 1534, 384)
    assert (signal.exponent, signal.factor, signal.padding) == (0.667, 0.065, "reflection")
    assert loaded.sde == OUVE(2.0, 0.1, 1.0)
    x, y = inputs(2)
    torch.testing.assert_close(loaded.score(x, y, T), -made(torch.stack((x, y), 1), T)[:, 0])
    silent = {"backbone": "ncsnpp_48k", "centered": True}
    bare = weights.load(convert(lightning(named("dnn.", made), silent)), "cpu").network
    assert isinstance(bare, Sgmse)
    assert bare.settings.signal == signal
    assert bare.sde == loaded.sde


def test_the_dereverberation_model_has_its_own_sampler(lightning: Write) -> None:
    file, loaded = sgmse(network(), lightning, format="reverb", base_dir="/data/wsj0_reverb")
    assert (loaded.settings.sampling.steps, loaded.settings.sampling.snr) == (50, 0.33)
    assert loaded.settings.task == "dereverb"
    assert file.title == "SGMSE+, 16 kHz, dereverberation (official)"
    older = convert(lightning(named("dnn.", network()), SGMSE_SAYS, version="1.6.5"))
    assert older.config["sampling"]["step_rule"] == "uniform"


def test_other_transforms_are_kept(lightning: Write) -> None:
    _, loaded = sgmse(network(), lightning, transform_type="log", window="sqrthann")
    assert (loaded.settings.signal.transform, loaded.settings.signal.window) == ("log", "sqrt-hann")


# ncsnpp_v2: what its output means


def v2(lightning: Write, **says: Any) -> tuple[NCSNpp, Sgmse]:
    made = network(backbone="ncsnpp_v2")
    _, loaded = sgmse(made, lightning, backbone="ncsnpp_v2", **says)
    return made, loaded


def test_the_bridge_predicts_clean_speech(lightning: Write) -> None:
    made, loaded = v2(lightning, sde="sbve", loss_type="data_prediction", k=2.6, c=0.4, N=50)
    assert loaded.bridges
    assert loaded.sde == SBVE(2.6, 0.4)
    assert loaded.settings.sampling.steps == 50
    x, y = inputs(2)
    torch.testing.assert_close(loaded.clean(x, y, T), made(torch.stack((x, y), 1), T)[:, 0])
    with pytest.raises(UserError, match=r"says sde = sbve, but its tensors say the loss denoiser"):
        v2(lightning, sde="sbve", loss_type="denoiser")


def test_the_training_objectives(lightning: Write) -> None:
    x, y = inputs(2)
    std = OUVE().std(T).float()[:, None, None]
    wide = T[:, None, None]

    def raw(made: NCSNpp, scale: Tensor | float = 1.0) -> Tensor:
        return made(torch.stack((x * scale, y * scale), 1), T)[:, 0]

    made, loaded = v2(lightning)
    torch.testing.assert_close(loaded.score(x, y, T), raw(made))
    with pytest.raises(ValueError, match="predicts a score"):
        loaded.clean(x, y, T)
    made, loaded = v2(lightning, network_scaling="1/sigma")
    torch.testing.assert_close(loaded.score(x, y, T), raw(made) / std)
    made, loaded = v2(lightning, network_scaling="1/t", c_out="sigma")
    torch.testing.assert_close(loaded.score(x, y, T), raw(made) / wide * std)
    made, loaded = v2(lightning, c_out="1/sigma")
    torch.testing.assert_close(loaded.score(x, y, T), raw(made) / std)
    made, loaded = v2(lightning, loss_type="denoiser")
    torch.testing.assert_close(loaded.score(x, y, T), (raw(made) - x) / std**2)
    edm = {"c_in": "edm", "c_out": "edm", "c_skip": "edm", "sigma_data": 0.1}
    made, loaded = v2(lightning, **edm, loss_type="data_prediction")
    total = torch.sqrt(std**2 + 0.01)
    clean = 0.01 / total**2 * x + 0.1 * std / total * raw(made, 1 / total)
    torch.testing.assert_close(loaded.clean(x, y, T), clean, rtol=1e-4, atol=1e-4)
    mean = OUVE().mean(clean, y, T)
    torch.testing.assert_close(loaded.score(x, y, T), (mean - x) / std**2, rtol=1e-3, atol=1e-2)


# StoRM


def pair(spectra: int = 3) -> tuple[NCSNpp, NCSNpp, dict[str, Tensor]]:
    denoiser = network(attention=(), centred=False, spectra=1, conditional=False)
    score = network(attention=(), centred=False, spectra=spectra)
    return denoiser, score, named("denoiser_net.", denoiser) | named("score_net.", score)


def storm(file: weights.ModelFile) -> Storm:
    loaded = weights.load(file, "cpu").network
    assert isinstance(loaded, Storm)
    assert file.network == "speech.storm/ncsnpp"
    return loaded


def test_a_published_storm_checkpoint(lightning: Write) -> None:
    denoiser, score, tensors = pair()
    file = convert(lightning(tensors, STORM_SAYS, version="1.8.0"))
    loaded = storm(file)
    assert file.title == "StoRM (official)"
    assert loaded.can == "predicts, and samples around its estimate"
    x, y, d = inputs(3)
    torch.testing.assert_close(loaded.predict(y), denoiser(y[:, None])[:, 0])
    found = loaded.score(x, y, d, T)
    torch.testing.assert_close(found, -score(torch.stack((x, y, d), 1), T)[:, 0])
    settings = loaded.settings
    assert settings.denoiser == Size(**LIGHT, spectra=1, conditional=False)
    assert settings.score == Size(**LIGHT, spectra=3)
    assert (settings.signal.factor, settings.signal.padding) == (0.33, "zeros")
    assert (settings.sampling.steps, settings.sampling.step_rule) == (50, "uniform")
    assert loaded.sde == OUVE()


def test_storm_s_averages_are_denoiser_first(lightning: Write) -> None:
    _, _, tensors = pair()
    ema = [value + 1 for value in tensors.values()]
    stored = load_file(convert(lightning(tensors, STORM_SAYS, ema)).path)
    assert all(torch.equal(stored[key], value + 1) for key, value in tensors.items())


@pytest.mark.parametrize("condition", ["noisy", "post_denoiser"])
def test_what_the_score_network_sees(condition: str, lightning: Write) -> None:
    _, score, tensors = pair(spectra=2)
    loaded = storm(convert(lightning(tensors, STORM_SAYS | {"condition": condition})))
    x, y, d = inputs(3)
    seen = torch.stack((x, y if condition == "noisy" else d), 1)
    torch.testing.assert_close(loaded.score(x, y, d, T), -score(seen, T)[:, 0])


def test_a_condition_that_the_channels_deny_is_refused(lightning: Write) -> None:
    for spectra, said in ((2, "both"), (3, "noisy"), (3, "post_denoiser")):
        _, _, tensors = pair(spectra)
        with pytest.raises(UserError, match=rf"says condition = {said}, but its score network has"):
            convert(lightning(tensors, STORM_SAYS | {"condition": said}))
    _, _, tensors = pair(2)
    silent = {key: value for key, value in STORM_SAYS.items() if key != "condition"}
    with pytest.raises(UserError, match=r"does not say whether its score network sees"):
        convert(lightning(tensors, silent))


def test_a_predictive_network_alone(lightning: Write) -> None:
    denoiser, _, _ = pair()
    says = {"backbone": "ncsnpp", "discriminative": True, "spatial_channels": 1, "sde": "ouve"}
    small = {key: value for key, value in says.items() if key != "backbone"}
    file = convert(lightning(named("dnn.", denoiser), small))
    loaded = storm(file)
    assert file.title == "StoRM, predictive network only (official)"
    assert loaded.can == "predicts only: it has no score network"
    x, y = inputs(2)
    torch.testing.assert_close(loaded.predict(y), denoiser(y[:, None])[:, 0])
    assert loaded.settings.signal.factor == 0.15  # the class's default: the script says otherwise
    with pytest.raises(ValueError, match="has no score network"):
        loaded.score(x, y, y, T)
    with pytest.raises(UserError, match=r"says nf = 128, but its tensors say 8"):
        convert(lightning(named("dnn.", denoiser), says))


def test_a_score_network_alone(lightning: Write) -> None:
    score = network(attention=(), centred=False)
    says = {"spatial_channels": 1, "sde": "ouve", "format": "reverb_wsj0"}
    file = convert(lightning(named("dnn.", score), says))
    loaded = storm(file)
    assert file.title == "StoRM, dereverberation, score network only (official)"
    assert loaded.denoiser_net is None
    x, y = inputs(2)
    torch.testing.assert_close(loaded.score(x, y, y, T), -score(torch.stack((x, y), 1), T)[:, 0])
    with pytest.raises(ValueError, match="has no predictive network"):
        loaded.predict(y)


# any form of the file


def test_safetensors_do_as_well(tmp_path: Path) -> None:
    """Bare tensors get the defaults; a file that was converted before keeps what it said."""
    denoiser, score, tensors = pair()
    save_file(tensors, tmp_path / "pair.safetensors")
    loaded = storm(convert(tmp_path / "pair.safetensors"))
    assert loaded.settings.condition == "both"
    assert loaded.settings.signal.factor == 0.33
    x, y, d = inputs(3)
    torch.testing.assert_close(loaded.predict(y), denoiser(y[:, None])[:, 0])
    found = loaded.score(x, y, d, T)
    torch.testing.assert_close(found, -score(torch.stack((x, y, d), 1), T)[:, 0])
    for prefix in ("", "dnn.", "module."):
        save_file(named(prefix, network()), tmp_path / "bare.safetensors")
        file = convert(tmp_path / "bare.safetensors")
        assert (file.network, file.config["network"]["nf"]) == ("speech.sgmse/ncsnpp", 8)


def test_a_converted_file_may_be_added_again(lightning: Write, tmp_path: Path) -> None:
    _, _, tensors = pair(2)
    says = STORM_SAYS | {"condition": "post_denoiser", "spec_factor": 0.2, "theta": 1.25}
    first = convert(lightning(tensors, says))
    moved = first.path.rename(tmp_path / "again.safetensors")
    again = convert(moved)
    assert again.config == first.config
    assert again.config["condition"] == "post_denoiser"
    made = network(backbone="ncsnpp_v2")
    bridge = {"backbone": "ncsnpp_v2", "sde": "sbve", "loss_type": "data_prediction", "k": 3.0}
    first = convert(lightning(named("dnn.", made), SGMSE_SAYS | bridge))
    assert convert(first.path.rename(moved)).config == first.config


def test_the_published_sizes_are_called_official() -> None:
    light: dict[str, Any] = {"ch_mult": (1, 2, 2, 2), "num_res_blocks": 1, "attention": ()}
    full = SgmseSettings().model_dump(mode="json")
    assert SGMSE.official(full)
    assert not SGMSE.official(full | {"network": full["network"] | {"nf": 64}})
    cases: list[tuple[dict[str, Any], bool]] = [
        (light, True),
        (light | {"nf": 32}, False),
        ({"nf": 128}, True),
    ]
    for score, official in cases:
        settings = StormSettings(denoiser=Size(**light), score=Size(**score))
        assert STORM.official(settings.model_dump(mode="json")) is official


# what is refused


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ({"nf": 128}, r"says nf = 128, but its tensors say 8"),
        ({"ch_mult": [1, 1]}, r"says ch_mult = \[1, 1\], but its tensors say \[1, 2\]"),
        ({"attn_resolutions": [16]}, r"says attention = \[\], but its tensors say \[1\]"),
        ({"backbone": "ncsnpp_48k"}, r"says backbone = ncsnpp_48k, but its tensors say ncsnpp"),
        ({"backbone": "dcunet"}, r"says backbone = dcunet, which this studio cannot use"),
        ({"sde": "ouvp"}, r"says kind = ouvp, which this studio cannot use"),
        ({"n_fft": 1 << 40}, r"says n_fft = 1099511627776, which this studio cannot use"),
        ({"n_fft": 512}, r"says n_fft = 512, but its tensors say that 1 halvings are wanted"),
        ({"theta": float("nan")}, r"says theta = nan, which"),
        ({"sigma_max": 0.01}, r"says sigma_max is not above sigma_min"),
        ({"window": "kaiser"}, r"says window = kaiser, which"),
        ({"spec_factor": -1.0}, r"says factor = -1.0, which"),
    ],
)
def test_a_file_that_contradicts_itself(
    says: dict[str, Any], sentence: str, lightning: Write
) -> None:
    with pytest.raises(UserError, match=rf"^official.ckpt {sentence}"):
        convert(lightning(named("dnn.", network()), SGMSE_SAYS | says))


def test_several_microphones_are_refused(lightning: Write) -> None:
    _, _, tensors = pair()
    with pytest.raises(UserError, match="is for several microphones"):
        convert(lightning(tensors, STORM_SAYS | {"spatial_channels": 2}))


def test_code_in_a_checkpoint_is_named_and_never_run(lightning: Write, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (exec, (f"open({str(tmp_path / 'pwned')!r}, 'w')",))

    file = lightning(named("dnn.", network()), SGMSE_SAYS, callbacks=Evil())
    with pytest.raises(UserError, match=r"^official.ckpt holds code, builtins.exec, which"):
        convert(file)
    assert not (tmp_path / "pwned").exists()
    assert not (tmp_path / "converted.safetensors").exists()


def test_missing_tensors_are_named(lightning: Write) -> None:
    tensors = named("dnn.", network())
    del tensors["dnn.all_modules.4.Dense_0.bias"]
    with pytest.raises(UserError, match=r"fit SGMSE\+: it lacks all_modules.4.Dense_0.bias"):
        convert(lightning(tensors, SGMSE_SAYS))


def test_damaged_settings_of_a_converted_file(lightning: Write) -> None:
    file, _ = sgmse(network(), lightning)
    damaged = {**file.config, "signal": {"rate": "fast"}}
    values = file.to_dict() | {"config": damaged}
    with pytest.raises(UserError, match=r"^The settings of this SGMSE\+ file are damaged at"):
        weights.load(weights.ModelFile.from_dict(values), "cpu")
