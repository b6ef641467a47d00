"""segmentation_loss against NumPy in float64, its gradient by finite differences, ignored pixels, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.segmentation_loss import segmentation_loss

WEIGHTS = [0.5, 1.0, 4.0]


def example(channels: int = 3, seed: int = 0, ignored: int = 255) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, max(channels, 2), (2, 5, 6))
    targets[generator.random(targets.shape) < 0.2] = ignored
    return generator.normal(0, 2, (2, channels, 5, 6)), targets


def plain_loss(
    logits: np.ndarray, targets: np.ndarray, kind: str, weights: list[float] | None, ignore: int = 255
) -> tuple[float, float]:
    """Pixel term and Dice term, pixel by pixel in float64."""
    batch, channels, height, width = logits.shape
    w = np.array(weights or [1.0] * channels)
    total = divisor = 0.0
    both, predicted, true = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    for b, y, x in np.ndindex(batch, height, width):
        label, row = targets[b, y, x], logits[b, :, y, x]
        if label == ignore:
            continue
        p = np.exp(row) / np.exp(row).sum() if kind == "ce" else 1 / (1 + np.exp(-row))
        g = np.eye(channels)[label] if channels > 1 else np.array([float(label == 1)])
        if kind == "ce":
            total, divisor = total - w[label] * np.log(p[label]), divisor + w[label]
        else:
            p_t = np.where(g == 1, p, 1 - p)
            modulation = (1 - p_t) ** 2 if kind == "focal" else 1.0
            total, divisor = total + (w * modulation * -np.log(p_t)).sum(), divisor + channels
        both, predicted, true = both + p * g, predicted + p, true + g
    if divisor == 0:
        return 0.0, 0.0
    losses = 1 - (2 * both + 1) / (predicted + true + 1)
    counted = [losses[c] for c in range(channels) if true[c] > 0 and (c > 0 or channels == 1)]
    return total / divisor, float(np.mean(counted)) if counted else 0.0


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
@pytest.mark.parametrize("kind", ["ce", "bce", "focal"])
def test_matches_numpy_in_float64(kind: str, dtype: torch.dtype, weights: list[float] | None) -> None:
    logits, targets = example()
    given = torch.from_numpy(targets).to(dtype)
    result = segmentation_loss(torch.from_numpy(logits), given, kind=kind, class_weights=weights, dice_weight=0.7)
    pixels, dice = plain_loss(logits, targets, kind, weights)
    assert result["pixels"].item() == pytest.approx(pixels, rel=1e-9)
    assert result["dice"].item() == pytest.approx(0.7 * dice, rel=1e-9)
    assert result["loss"].item() == pytest.approx(pixels + 0.7 * dice, rel=1e-9)


@pytest.mark.parametrize("kind", ["ce", "bce", "focal"])
def test_dice_of_each_picture_is_the_mean_over_those_that_hold_the_class(kind: str) -> None:
    """By hand each picture is a batch; the last of four classes is in one of three pictures, the third in none."""
    generator = np.random.default_rng(1)
    logits, targets = generator.normal(0, 2, (3, 4, 5, 6)), generator.integers(0, 2, (3, 5, 6))
    targets[1, 2:4, 1:3] = 3
    targets[generator.random(targets.shape) < 0.2] = 255
    missed: dict[int, list[float]] = {}
    for picture in range(3):
        for class_id in set(targets[picture].ravel().tolist()) - {0, 255}:
            alone = np.where(targets[picture] == 255, 255, (targets[picture] == class_id) * class_id)
            missed.setdefault(class_id, []).append(plain_loss(logits[picture][None], alone[None], kind, None)[1])
    assert {class_id: len(values) for class_id, values in missed.items()} == {1: 3, 3: 1}
    expected = np.mean([np.mean(values) for values in missed.values()])
    given = torch.from_numpy(logits), torch.from_numpy(targets)
    by_picture = segmentation_loss(*given, kind=kind, dice_over="picture", dice_weight=0.7)
    assert by_picture["dice"].item() == pytest.approx(0.7 * expected)
    assert by_picture["pixels"] == segmentation_loss(*given, kind=kind)["pixels"]
    one = [segmentation_loss(*(part[:1] for part in given), kind=kind, dice_over=over) for over in ("batch", "picture")]
    assert one[0]["loss"].item() == pytest.approx(one[1]["loss"].item())


@pytest.mark.parametrize("kind", ["bce", "focal"])
def test_one_channel_is_one_class_against_the_rest(kind: str) -> None:
    logits, targets = example(channels=1)
    result = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(targets), kind=kind)
    assert (result["pixels"].item(), result["dice"].item()) == pytest.approx(plain_loss(logits, targets, kind, None))


@pytest.mark.parametrize("ignore", [255, -1, 0, 2, 300])
def test_any_class_id_can_be_the_one_to_ignore(ignore: int) -> None:
    logits, targets = example(ignored=ignore)
    result = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(targets), ignore=ignore)
    expected = plain_loss(logits, targets, "ce", None, ignore)
    assert (result["pixels"].item(), result["dice"].item()) == pytest.approx(expected)


def test_an_id_beyond_uint8_ignores_no_pixel_of_it() -> None:
    logits, targets = example(ignored=0)
    one, other = (
        segmentation_loss(torch.from_numpy(logits), torch.from_numpy(targets).to(dtype), ignore=-1)
        for dtype in (torch.uint8, torch.int64)
    )
    assert one == other


@pytest.mark.parametrize("kind", ["ce", "bce", "focal"])
def test_ignored_pixels_count_nowhere(kind: str) -> None:
    """Whatever the network says there, no number moves and no slope leads there."""
    logits, targets = example()
    given = torch.from_numpy(logits).requires_grad_()
    truth = torch.from_numpy(targets)
    result = segmentation_loss(given, truth, kind=kind)
    result["loss"].backward()
    ignored = (truth == 255)[:, None].expand_as(given)
    assert not given.grad[ignored].any()
    assert given.grad[~ignored].all()
    changed = torch.where(ignored, 1e3 * torch.ones(()), given.detach())
    again = segmentation_loss(changed, truth, kind=kind)
    assert all(again[name].item() == pytest.approx(value.item(), rel=1e-12) for name, value in result.items())


@pytest.mark.parametrize("kind", ["ce", "bce", "focal"])
def test_a_batch_of_ignored_pixels_teaches_nothing(kind: str) -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    result = segmentation_loss(logits, torch.full((2, 4, 4), 255), kind=kind, class_weights=WEIGHTS)
    result["loss"].backward()
    assert [value.item() for value in result.values()] == [0, 0, 0]
    assert not logits.grad.any()


def test_dice_leaves_out_the_background_and_classes_that_do_not_occur() -> None:
    logits = torch.full((1, 4, 2, 4), -20.0)
    logits[:, 0], logits[:, 2, 0] = 0.0, 20.0  # class 2 in the upper row, background below
    truth = torch.zeros(1, 2, 4, dtype=torch.int64)
    assert segmentation_loss(logits, truth)["dice"] == 0
    truth[0, 0, :2] = 2
    # p sums to 4, g to 2, both to 2: 1 - (2 * 2 + 1) / (4 + 2 + 1)
    assert segmentation_loss(logits, truth)["dice"].item() == pytest.approx(1 - 5 / 7)
    truth[0, 1] = 1  # missed altogether: 1 - 1 / (4 + 1)
    assert segmentation_loss(logits, truth)["dice"].item() == pytest.approx((1 - 5 / 7 + 1 - 1 / 5) / 2)


def plain_bilinear(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Interpolation between pixels' centres, repeating the border."""
    for axis, wanted in ((2, size[0]), (3, size[1])):
        given = x.shape[axis]
        at = np.clip((np.arange(wanted) + 0.5) * given / wanted - 0.5, 0, given - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, given - 1)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(4)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


@pytest.mark.parametrize("size", [(10, 12), (9, 11), (5, 24)])
def test_coarser_logits_are_interpolated(size: tuple[int, int]) -> None:
    logits, _ = example()
    targets = np.random.default_rng(5).integers(0, 3, (2, *size))
    result = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(targets))
    expected = plain_loss(plain_bilinear(logits, size), targets, "ce", None)
    assert (result["pixels"].item(), result["dice"].item()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("size", [(3, 4), (6, 8)])
@pytest.mark.parametrize("kind", ["ce", "bce", "focal"])
def test_gradient(kind: str, size: tuple[int, int]) -> None:
    generator = np.random.default_rng(2)
    targets = torch.from_numpy(generator.integers(0, 3, (2, *size)))
    targets[0, 0] = 255
    logits = torch.from_numpy(generator.normal(size=(2, 3, 3, 4))).requires_grad_()

    def loss(given: torch.Tensor) -> torch.Tensor:
        return segmentation_loss(given, targets, kind=kind, class_weights=WEIGHTS)["loss"]

    assert torch.autograd.gradcheck(loss, logits)


@pytest.mark.parametrize("kind", ["ce", "bce", "focal"])
def test_parts_are_scalars_without_a_graph_and_extremes_stay_finite(kind: str) -> None:
    logits, targets = example()
    given = (torch.from_numpy(logits).float() * 1e4).requires_grad_()
    result = segmentation_loss(given, torch.from_numpy(targets), kind=kind)
    result["loss"].backward()
    assert set(result) == {"loss", "pixels", "dice"}
    assert all(value.shape == () and value.isfinite() for value in result.values())
    assert [name for name, value in result.items() if value.requires_grad] == ["loss"]
    assert given.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits, targets = example()
    half = segmentation_loss(torch.from_numpy(logits).to(dtype), torch.from_numpy(targets))
    full = segmentation_loss(torch.from_numpy(logits).to(dtype).float(), torch.from_numpy(targets))
    assert half["loss"].dtype == torch.float32
    assert half == full


@pytest.mark.parametrize(
    ("channels", "targets", "options", "message"),
    [
        (3, torch.zeros(2, 4, 4), {}, "targets: expected int64 or uint8 [2, H, W], got torch.float32 [2, 4, 4]"),
        (3, torch.zeros(1, 4, 4).long(), {}, "targets: expected int64 or uint8 [2, H, W], got torch.int64 [1, 4, 4]"),
        (3, torch.zeros(2, 1, 4, 4).long(), {}, "expected int64 or uint8 [2, H, W], got torch.int64 [2, 1, 4, 4]"),
        (3, torch.zeros(2, 4, 3).long(), {}, "targets: expected at least the logits' size (4, 4), got (4, 3)"),
        (3, torch.full((2, 4, 4), 3), {}, "targets: expected 0..2 or ignore, got 3..3"),
        (1, torch.full((2, 4, 4), 2), {"kind": "bce"}, "targets: expected 0..1 or ignore, got 2..2"),
        (3, torch.full((2, 4, 4), -1), {}, "targets: expected 0..2 or ignore, got -1..-1"),
        (1, torch.zeros(2, 4, 4).long(), {}, "expected at least 2 channels for kind 'ce', got 1; use 'bce' or 'focal'"),
        (3, torch.zeros(2, 4, 4).long(), {"kind": "mse"}, "kind: expected one of ce, focal, bce, got 'mse'"),
        (3, torch.zeros(2, 4, 4).long(), {"dice_over": "set"}, "dice_over: expected one of batch, picture, got 'set'"),
        (3, torch.zeros(2, 4, 4).long(), {"dice_weight": -1.0}, "dice_weight: expected a finite number of at least 0"),
        (
            3,
            torch.zeros(2, 4, 4).long(),
            {"class_weights": [1, 2]},
            "class_weights: expected 3 numbers, got shape (2,)",
        ),
    ],
)
def test_refuses(channels: int, targets: torch.Tensor, options: dict, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        segmentation_loss(torch.zeros(2, channels, 4, 4), targets, **options)
    assert message in str(caught.value)


def test_refuses_logits_of_another_rank() -> None:
    with pytest.raises(ValueError, match=r"logits: expected float \[B, C, h, w\], got shape \(2, 3, 4\)"):
        segmentation_loss(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4).long())
