"""The YOLOX networks: what every network must do, and what is theirs."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch

pytest.register_assert_rewrite("network_tester")

from network_tester import ExportTester, NetworkTester  # noqa: E402

from zoo.yolox import ConvUnit, DecoupledHead, Focus, yolox_nano, yolox_s, yolox_tiny  # noqa: E402


class Detector(NetworkTester):
    def expected_shape(self, batch: int, size: tuple[int, int], num_classes: int) -> tuple[int, ...]:
        cells = sum((size[0] // stride) * (size[1] // stride) for stride in (8, 16, 32))
        return batch, cells, 5 + num_classes


# Parameters in millions: table 5 of Ge et al. 2021 says 0.91, 5.06 and (table 3) 9.0; their repository 8.97 for s.
class TestNano(Detector, ExportTester):
    build = staticmethod(yolox_nano)
    millions = 0.91
    golden: ClassVar = {
        "backbone.backbone.stem.conv.conv.weight": (16, 12, 3, 3),
        "backbone.backbone.dark2.0.dconv.bn.running_var": (16,),
        "backbone.C3_n4.m.0.conv2.pconv.conv.weight": (128, 128, 1, 1),
        "head.cls_convs.2.1.dconv.conv.weight": (64, 1, 3, 3),
        "head.cls_preds.0.weight": (3, 64, 1, 1),
    }


class TestTiny(Detector):
    build = staticmethod(yolox_tiny)
    millions = 5.06
    golden: ClassVar = {
        "backbone.backbone.dark5.1.conv2.bn.weight": (384,),
        "backbone.lateral_conv0.conv.weight": (192, 384, 1, 1),
        "head.reg_preds.1.bias": (4,),
    }


class TestS(Detector):
    build = staticmethod(yolox_s)
    millions = 8.97
    golden: ClassVar = {
        "backbone.backbone.dark3.1.m.2.conv2.conv.weight": (64, 64, 3, 3),
        "backbone.bu_conv1.bn.num_batches_tracked": (),
        "head.obj_preds.0.weight": (1, 128, 1, 1),
    }


@pytest.mark.parametrize("build", [yolox_nano, yolox_tiny, yolox_s])
def test_a_new_network_expects_little_of_every_cell(build) -> None:
    """Objectness and classes start at 1 %, so that the many empty cells do not swamp the first steps."""
    torch.manual_seed(0)
    network = build(4).eval()
    with torch.inference_mode():
        raw = network(torch.zeros(1, 3, 64, 64))
    assert raw[..., 4:].sigmoid().mean().item() == pytest.approx(0.01, rel=0.5)
    for layer in (*network.head.obj_preds, *network.head.cls_preds):
        assert layer.bias.sigmoid().tolist() == pytest.approx([0.01] * len(layer.bias))


@pytest.mark.parametrize(("level", "first", "side"), [(0, 0, 16), (1, 256, 8), (2, 320, 4)])
def test_cells_come_row_by_row_finest_stride_first(level: int, first: int, side: int) -> None:
    """One cell of one level's features reaches the 5x5 cells around it (two 3x3 convolutions) and nothing else."""
    torch.manual_seed(0)
    head = DecoupledHead(2, 0.25, ConvUnit).eval()
    features = [torch.rand(1, channels, s, s) for channels, s in ((64, 16), (128, 8), (256, 4))]
    touched = [feature.clone() for feature in features]
    touched[level][:, :, 1, 3] += 5
    with torch.inference_mode():
        moved = (head(tuple(touched)) != head(tuple(features)))[0].any(1)
    expected = torch.zeros(side, side, dtype=torch.bool)
    expected[:4, 1:6] = True
    assert torch.equal(moved[first : first + side * side].reshape(side, side), expected)
    assert moved.sum() == expected.sum()


def test_focus_stacks_the_blocks_in_the_order_of_the_published_weights() -> None:
    """Top left, bottom left, top right, bottom right (Megvii's order: another would ruin their weights)."""
    focus = Focus(1, 4)
    seen = []
    focus.conv.forward = lambda x: seen.append(x) or x
    focus(torch.arange(16.0).reshape(1, 1, 4, 4))
    assert seen[0][0, :, 0, 0].tolist() == [0, 4, 1, 5]


@pytest.mark.parametrize(("channels", "size"), [(1, (4, 4)), (3, (6, 10)), (3, (32, 64))])
def test_focus_in_evaluation_is_the_convolution_of_cells(channels: int, size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    focus = Focus(channels, 5).double()
    x = torch.rand(2, channels, *size, dtype=torch.float64)
    focus(x)  # so that its statistics are not those of a new layer
    focus.eval()
    cells = torch.cat([x[..., dy::2, dx::2] for dx in (0, 1) for dy in (0, 1)], dim=1)
    with torch.inference_mode():
        torch.testing.assert_close(focus(x), focus.conv(cells), rtol=1e-12, atol=1e-12)


def test_sizes_that_are_no_multiple_of_32_fail() -> None:
    with pytest.raises(RuntimeError):
        yolox_nano(1).eval()(torch.zeros(1, 3, 72, 64))


def test_prior_is_settable() -> None:
    head = DecoupledHead(2, 0.25, ConvUnit, prior=0.1)
    assert head.obj_preds[0].bias.item() == pytest.approx(-math.log(9))
