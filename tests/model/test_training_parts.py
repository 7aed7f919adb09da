"""Metrics, optimiser, schedule and checkpoints: the small parts that every training run rests on."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from cutscene_model.denoiser import rotated
from cutscene_model.noise import frame_noise
from cutscene_model.sampler import levels
from cutscene_model.training.metrics import gradient_energy, psnr, ssim
from cutscene_model.training.optimizer import MuonAdam, orthogonalised
from cutscene_model.training.progress import Average, load_average, load_checkpoint, save_checkpoint, schedule


def test_psnr_is_what_its_definition_says() -> None:
    black = torch.zeros(3, 16, 16)
    assert psnr(black + 0.1, black) == pytest.approx(20.0, abs=1e-4)
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[:4] = True
    half = black.clone()
    half[:, 4:] = 1.0
    assert psnr(half + 0.01, black + 0.01 * 0, mask) == pytest.approx(40.0, abs=1e-3)


def test_ssim_is_one_for_equal_pictures_and_falls_with_blur_and_noise() -> None:
    picture = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
    assert ssim(picture, picture) == pytest.approx(1.0, abs=1e-5)
    assert ssim(nn.functional.avg_pool2d(picture[None], 3, 1, 1)[0], picture) < 0.8


def test_gradient_energy_of_a_step_is_its_height_squared_over_the_width() -> None:
    step = torch.zeros(3, 10, 11)
    step[:, :, 5:] = 0.5
    assert gradient_energy(step) == pytest.approx(0.25 / 10)


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    for rows, columns in ((32, 96), (96, 32)):
        matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
        values = torch.linalg.svdvals(orthogonalised(matrix))
        assert values.max() < 1.3
        assert values.min() > 0.6


def test_orthogonalising_follows_the_quintic_iteration() -> None:
    a, b, c = 3.4445, -4.7750, 2.0315
    matrix = torch.randn(24, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = matrix / matrix.norm()
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    torch.testing.assert_close(orthogonalised(matrix), x, rtol=1e-5, atol=1e-5)


def test_the_schedule_warms_up_stays_flat_and_decays() -> None:
    rates = [schedule(step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[300] == 1.0
    assert rates[999] == pytest.approx(0.02)
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[600:]))


def test_a_checkpoint_continues_exactly(tmp_path: Path) -> None:
    def step(module: nn.Module, optimizer: MuonAdam, average: Average, seed: int) -> None:
        batch = torch.randn(8, 24, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        module(batch).square().mean().backward()
        optimizer.step()
        average.update()

    def fresh() -> tuple[nn.Module, MuonAdam, Average]:
        torch.manual_seed(3)
        module = nn.Sequential(nn.Linear(24, 32), nn.SiLU(), nn.Linear(32, 4))
        return module, MuonAdam(module.named_parameters()), Average(module)

    straight, optimizer, average = fresh()
    for seed in range(3):
        step(straight, optimizer, average, seed)
    save_checkpoint(tmp_path / "run.safetensors", 3, straight, average, optimizer)
    resumed, other_optimizer, other_average = fresh()
    assert load_checkpoint(tmp_path / "run.safetensors", resumed, other_average, other_optimizer) == 3
    step(straight, optimizer, average, 9)
    step(resumed, other_optimizer, other_average, 9)
    for (name, a), b in zip(straight.state_dict().items(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)
        torch.testing.assert_close(average.tensors[name], other_average.tensors[name], rtol=0, atol=0)
    load_average(tmp_path / "run.safetensors", resumed)


def test_an_optimizer_takes_up_its_state_by_name_whatever_was_held_then(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    optimizer = MuonAdam(module.named_parameters())
    module(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path / "run.safetensors", 1, module, Average(module), optimizer)
    module[0].requires_grad_(False)
    fewer = MuonAdam(module.named_parameters())
    load_checkpoint(tmp_path / "run.safetensors", module, None, fewer)
    assert fewer.tensors().keys() == {name for name in optimizer.tensors() if name.startswith("1.")}
    for name, value in fewer.tensors().items():
        torch.testing.assert_close(value, optimizer.tensors()[name], rtol=0, atol=0)


def test_noise_depends_on_seed_and_frame_only() -> None:
    shape = (64, 9, 16)
    assert (frame_noise(1, 2, shape) == frame_noise(1, 2, shape)).all()
    assert (frame_noise(1, 2, shape) != frame_noise(1, 3, shape)).any()
    assert (frame_noise(1, 2, shape) != frame_noise(2, 2, shape)).any()
    noise = frame_noise(2**64 - 1, 10**9, shape)
    assert abs(float(noise.mean())) < 0.05
    assert abs(float(noise.std()) - 1) < 0.05


def test_keys_turn_with_age_and_keep_their_length() -> None:
    keys = torch.randn(2, 1, 4, 6, 64)
    ages = torch.tensor([[0.0, 0.0, 1.0, 1.0, 5.0, 5.0]])
    turned = rotated(keys, ages)
    torch.testing.assert_close(turned[..., :2, :], keys[..., :2, :])
    torch.testing.assert_close(turned.norm(dim=-1), keys.norm(dim=-1))
    assert not torch.allclose(turned[..., 4, :], keys[..., 4, :])
    # The first pair turns one radian a frame.
    expected = keys[..., 2, 0] * math.cos(1) - keys[..., 2, 8] * math.sin(1)
    torch.testing.assert_close(turned[..., 2, 0], expected)


def test_noise_levels_fall_from_pure_noise() -> None:
    assert levels(1) == [1.0]
    assert levels(4) == [1.0, 0.75, 0.5, 0.25]
