"""Encoders: every name builds, and a dilated one sees at every second position what the plain one sees."""

from __future__ import annotations

import pytest
import torch
from network_tester import calibrate
from torch import nn

from zoo.encoders import ENCODERS, build_encoder


def alike(name: str) -> tuple[nn.Module, nn.Module]:
    """The same weights at output strides 32 and 16."""
    torch.manual_seed(0)
    plain, dilated = build_encoder(name), build_encoder(name, output_stride=16)
    calibrate(plain, torch.randn(2, 3, 96, 96))
    dilated.load_state_dict(plain.state_dict())
    return plain.eval(), dilated.eval()


@pytest.mark.parametrize("size", [(64, 128), (81, 50)])
@pytest.mark.parametrize("name", ENCODERS)
def test_dilation_keeps_what_was_computed_and_adds_what_lies_between(name: str, size: tuple[int, int]) -> None:
    """The weights of a classifier go on meaning the same: the plain map is every second position of the dilated."""
    plain, dilated = alike(name)
    pictures = torch.randn(2, 3, *size)
    with torch.inference_mode():
        *shallow, coarse = plain(pictures)
        *same, fine = dilated(pictures)
    assert all(torch.equal(a, b) for a, b in zip(shallow, same, strict=True))
    assert fine.shape[2:] == same[-1].shape[2:]
    assert fine.shape[1] == plain.channels[-1] == dilated.channels[-1]
    torch.testing.assert_close(fine[..., ::2, ::2], coarse, rtol=1e-4, atol=1e-4 * float(coarse.abs().max()))


def test_a_narrow_encoder_keeps_its_shortcuts_when_dilated() -> None:
    """At width 0.1 the stage that no longer strides has as many channels as the one before it."""
    plain, dilated = (build_encoder("mobilenet_v2", width=0.1, output_stride=stride).eval() for stride in (32, 16))
    dilated.load_state_dict(plain.state_dict())
    pictures = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(dilated(pictures)[-1][..., ::2, ::2], plain(pictures)[-1])


@pytest.mark.parametrize("name", ENCODERS)
def test_channels_are_those_of_the_maps(name: str) -> None:
    encoder = build_encoder(name).eval()
    with torch.inference_mode():
        maps = encoder(torch.zeros(1, 3, 40, 64))
    assert tuple(m.shape[1] for m in maps) == encoder.channels
    assert [tuple(m.shape[2:]) for m in maps] == [(20, 32), (10, 16), (5, 8), (3, 4), (2, 2)]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg", {}, "encoder: expected one of mobilenet_v2, resnet18, resnet50, got 'vgg'"),
        ("resnet18", {"width": 0.5}, "resnet18 comes in one width: expected width 1.0, got 0.5"),
        ("resnet50", {"output_stride": 8}, "resnet50: output_stride: expected 16 or 32, got 8"),
        ("mobilenet_v2", {"output_stride": 8}, "mobilenet_v2: output_stride: expected 16 or 32, got 8"),
    ],
)
def test_refuses(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        build_encoder(name, **options)
    assert message in str(caught.value)
