"""yolox_loss against plain torch in float64 for the same assignment, and that training by it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ops
from zoo.yolox import yolox_nano
from zoo.yolox_loss import cell_grid, decode_boxes, yolox_loss

SIZE = (64, 96)
CELLS = [(x, y, s) for s in (8, 16, 32) for y in range(SIZE[0] // s) for x in range(SIZE[1] // s)]
BOXES = [
    np.array([[4, 4, 40, 36], [50, 20, 90, 60], [10, 30, 22, 45]], np.float32),
    np.zeros((0, 4), np.float32),
    np.array([[0, 0, 96, 64]], np.float32),
]
CLASS_IDS = [np.array([0, 2, 1]), np.zeros(0, np.int64), np.array([1])]


def head(seed: int = 0, classes: int = 3) -> torch.Tensor:
    torch.manual_seed(seed)
    raw = torch.randn(3, len(CELLS), 5 + classes)
    raw[..., 2:4] = raw[..., 2:4] * 0.5 + 0.7
    return raw


def plain_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    meet = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0).prod()
    return meet / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - meet)


def plain_loss(raw: torch.Tensor, matched: np.ndarray) -> dict[str, torch.Tensor]:
    """The paper's loss written out cell by cell, for a given assignment."""
    box = classes = torch.zeros((), dtype=raw.dtype)
    for picture, cell in zip(*np.nonzero(matched >= 0), strict=True):
        truth, row, (x, y, stride) = matched[picture, cell], raw[picture, cell], CELLS[cell]
        centre = torch.stack([(row[0] + x) * stride, (row[1] + y) * stride])
        size = row[2:4].exp() * stride
        iou = plain_iou(torch.cat([centre - size / 2, centre + size / 2]), torch.from_numpy(BOXES[picture][truth]))
        box = box + 5 * (1 - iou**2)
        target = F.one_hot(torch.tensor(CLASS_IDS[picture][truth]), raw.shape[2] - 5) * iou.detach()
        classes = classes + F.binary_cross_entropy_with_logits(row[5:], target, reduction="sum")
    wanted = torch.from_numpy(matched >= 0).to(raw.dtype)
    objectness = F.binary_cross_entropy_with_logits(raw[..., 4], wanted, reduction="sum")
    number = max(int(wanted.sum()), 1)
    return {"box": box / number, "objectness": objectness / number, "classes": classes / number}


def assignment(raw: torch.Tensor) -> np.ndarray:
    counts = [len(boxes) for boxes in BOXES]
    boxes, class_ids = np.concatenate(BOXES), np.concatenate(CLASS_IDS)
    return ops.simota_assign(raw.numpy(), boxes, class_ids, counts, input_size=SIZE)[0]


@pytest.mark.parametrize("seed", range(3))
def test_matches_plain_torch_in_float64(seed: int) -> None:
    raw = head(seed)
    matched = assignment(raw)
    ours, theirs = raw.clone().requires_grad_(), raw.double().requires_grad_()
    result, expected = yolox_loss(ours, BOXES, CLASS_IDS, input_size=SIZE), plain_loss(theirs, matched)
    for part, value in expected.items():
        assert result[part].item() == pytest.approx(value.item(), rel=1e-4), part
    assert result["loss"].item() == pytest.approx(sum(value.item() for value in expected.values()), rel=1e-4)
    assert result["positives"].item() == (matched >= 0).sum() >= 4
    result["loss"].backward()
    sum(expected.values()).backward()
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-3, atol=1e-5)


def test_parts_sum_to_the_loss_and_carry_no_graph() -> None:
    result = yolox_loss(head().requires_grad_(), BOXES, CLASS_IDS, input_size=SIZE)
    parts = [result[name] for name in ("box", "objectness", "classes")]
    assert result["loss"].item() == pytest.approx(sum(part.item() for part in parts), rel=1e-6)
    assert result["loss"].requires_grad
    assert not any(value.requires_grad for name, value in result.items() if name != "loss")
    assert all(value.shape == () for value in result.values())


def test_a_batch_without_boxes_teaches_that_nothing_is_there() -> None:
    raw = head().requires_grad_()
    result = yolox_loss(raw, [BOXES[1]] * 3, [CLASS_IDS[1]] * 3, input_size=SIZE)
    result["loss"].backward()
    assert result["loss"].isfinite()
    assert (result["box"], result["classes"], result["positives"]) == (0, 0, 0)
    torch.testing.assert_close(raw.grad[..., 4], raw[..., 4].detach().sigmoid())
    assert not raw.grad[..., [0, 1, 2, 3, 5, 6, 7]].any()


def test_extreme_outputs_give_a_finite_loss_and_gradient() -> None:
    raw = head() * 50  # exp(100) strides; probabilities of 0 and 1
    raw.requires_grad_()
    result = yolox_loss(raw, BOXES, CLASS_IDS, input_size=SIZE)
    result["loss"].backward()
    assert result["loss"].isfinite()
    assert raw.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    raw = head().to(dtype)
    half = yolox_loss(raw.clone().requires_grad_(), BOXES, CLASS_IDS, input_size=SIZE)["loss"]
    full = yolox_loss(raw.float().requires_grad_(), BOXES, CLASS_IDS, input_size=SIZE)["loss"]
    assert half.dtype == torch.float32
    assert half.item() == full.item()


def test_decodes_as_the_operator_that_predicts() -> None:
    """Loss and inference must mean the same boxes by the same numbers."""
    raw = head()[:1]
    boxes = decode_boxes(raw[0], cell_grid(SIZE, (8, 16, 32))).numpy()
    assert [tuple(int(v) for v in cell) for cell in cell_grid(SIZE, (8, 16, 32))] == CELLS
    for cell in range(0, len(CELLS), 7):
        alone = torch.full_like(raw[0], -20)
        alone[cell] = raw[0, cell]
        alone[cell, 4:] = 9
        found, _, _ = ops.decode_detections(alone.numpy(), input_size=SIZE)
        clipped = boxes[cell].clip(0, [SIZE[1], SIZE[0]] * 2)
        if (clipped[2:] > clipped[:2]).all():
            np.testing.assert_allclose(found, [clipped], rtol=1e-4, atol=1e-3)


def test_thirty_steps_on_one_picture_learn_it() -> None:
    torch.manual_seed(0)
    network = yolox_nano(3).train()
    picture = torch.rand(1, 3, 64, 64) * 255
    boxes, class_ids = [np.array([[8, 16, 40, 56]], np.float32)], [np.array([2])]
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        result = yolox_loss(network(picture), boxes, class_ids, input_size=(64, 64))
        optimizer.zero_grad()
        result["loss"].backward()
        optimizer.step()
        losses.append(result["loss"].item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("boxes", "class_ids", "message"),
    [
        ([BOXES[0]] * 3, [CLASS_IDS[2]] * 3, "expected equal lengths, got boxes 9, class_ids 3"),
        ([BOXES[0]] * 2, [CLASS_IDS[0]] * 2, "counts: expected 3 counts that sum to 6, got [3, 3]"),
        (BOXES, [CLASS_IDS[0], CLASS_IDS[1], np.array([3])], "class_ids: expected 0..2, got 0..3"),
    ],
)
def test_refuses(boxes: list[np.ndarray], class_ids: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        yolox_loss(head(), boxes, class_ids, input_size=SIZE)
    assert message in str(caught.value)
