"""The fused layer against torch's own two layers: results, gradients, running statistics, and when it steps aside."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

import zoo.norm_act
from zoo.conv_unit import ConvUnit
from zoo.deeplabv3 import deeplabv3
from zoo.mobilenet_v2 import mobilenet_v2
from zoo.norm_act import ACTIVATIONS, NormActSequential, batch_norm_act, conv_norm_act, fusable, norm_act
from zoo.resnet import resnet18, resnet50
from zoo.unet import unet
from zoo.yolox import yolox_nano

SHAPES = [(2, 1, 1, 1), (1, 3, 5, 7), (2, 16, 40, 40), (4, 24, 13, 13), (2, 64, 52, 52), (8, 32, 1, 1)]


def layer(channels, *, momentum=0.03):
    bn = nn.BatchNorm2d(channels, eps=1e-3, momentum=momentum)
    with torch.no_grad():
        bn.weight.uniform_(0.3, 2.0)
        bn.bias.normal_()
        bn.running_mean.normal_()
        bn.running_var.uniform_(0.5, 2.0)
    return bn


def picture(*shape, offset=0.5, spread=2.0):
    return (offset + spread * torch.randn(shape)).contiguous(memory_format=torch.channels_last)


each_activation = pytest.mark.parametrize("activation", list(ACTIVATIONS.values()))
LAYERS = {name: kind() for kind, name in ACTIVATIONS.items()}


def gradients_of(function, x, bn, activation, upstream):
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = function(x, bn, activation)
    return y.detach(), *torch.autograd.grad(y, (x, bn.weight, bn.bias), upstream)


def plain(x, bn, activation):
    return LAYERS[activation](bn(x))


def away_from_the_ends(x, bn, upstream, near=1e-4):
    """The gradient with zeros where rounding decides on which side of 0 or 6, where ReLUs end, a value lies."""
    with torch.no_grad():
        z = copy.deepcopy(bn).double()(x.double())
    return upstream.masked_fill((z.abs() < near) | ((z - 6).abs() < near), 0.0)


@pytest.fixture(autouse=True)
def _prepare(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(zoo.norm_act, "_threads_agree", lambda: True)  # whatever the machine; tested on its own below


@each_activation
@pytest.mark.parametrize(("offset", "spread"), [(0.5, 2.0), (1e3, 1e-1)])
@pytest.mark.parametrize("shape", SHAPES)
def test_as_close_to_float64_as_torch_itself(shape, offset, spread, activation):
    x, bn = picture(*shape, offset=offset, spread=spread), layer(shape[1])
    upstream = away_from_the_ends(x, bn, torch.randn(shape).contiguous(memory_format=torch.channels_last))
    fused = gradients_of(batch_norm_act, x, copy.deepcopy(bn), activation, upstream)
    single = gradients_of(plain, x, copy.deepcopy(bn), activation, upstream)
    double = gradients_of(plain, x.double(), copy.deepcopy(bn).double(), activation, upstream.double())
    count = x.numel() // x.shape[1]
    # Of two values dx is nearly nothing, left over from cancellation: its measure is the gradient that went in.
    floors = (0.0, 1e-1 * float(upstream.abs().max()) if count < 8 else 0.0, 1e-2, 1e-2)
    for mine, torchs, truth, floor in zip(fused, single, double, floors, strict=True):
        size = max(float(truth.abs().max()), floor)
        error = float((mine - truth).abs().max()) / size
        assert error < max(1e-5, 4e-7 * abs(offset) / spread)
        assert error <= 4 * float((torchs - truth).abs().max()) / size + 2e-6


@each_activation
@pytest.mark.filterwarnings("ignore:.*not a double precision")
def test_gradcheck(activation):
    """In single precision, so with a wide step; no value comes near an end."""
    bn = layer(3)
    x = picture(2, 3, 3, 2)
    while activation.startswith("relu") and not away_from_the_ends(x, bn, torch.ones_like(x), 0.1).all():
        x = picture(2, 3, 3, 2)
    inputs = (x.requires_grad_(), bn.weight, bn.bias)

    def function(x, weight, bias):
        return zoo.norm_act._BatchNormAct.apply(x, weight, bias, bn.eps, activation)[0]

    assert torch.autograd.gradcheck(function, inputs, eps=1e-2, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("momentum", [0.03, 0.1, None])
def test_running_statistics_move_as_in_torch(momentum):
    fused, torchs = (copy.deepcopy(bn) for bn in [layer(24, momentum=momentum)] * 2)
    for step in range(4):
        x = picture(2, 24, 9, 11, offset=step)
        batch_norm_act(x, fused, "relu")
        plain(x, torchs, "relu")
    assert int(fused.num_batches_tracked) == int(torchs.num_batches_tracked) == 4
    torch.testing.assert_close(fused.running_mean, torchs.running_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fused.running_var, torchs.running_var, rtol=1e-5, atol=1e-6)


def test_the_gradient_may_come_in_any_layout():
    x, bn = picture(2, 16, 20, 20), layer(16)
    wide = torch.randn(2, 40, 20, 20).contiguous(memory_format=torch.channels_last)
    slices = {
        "slice of channels": wide[:, 8:24],
        "channels first": torch.randn(2, 16, 20, 20),
        "expanded": torch.ones(1).expand(2, 16, 20, 20),
    }
    for name, upstream in slices.items():
        fused, expected = (gradients_of(f, x, copy.deepcopy(bn), "silu", upstream) for f in (batch_norm_act, plain))
        for mine, torchs in zip(fused, expected, strict=True):
            torch.testing.assert_close(
                mine, torchs, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
            )


def test_double_backward_is_refused_not_wrong():
    x, bn = picture(1, 3, 4, 4).requires_grad_(), layer(3)
    (first,) = torch.autograd.grad(batch_norm_act(x, bn, "relu6").square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def aside():
    """Situations in which the fused layer must not be used: name to (tensor, layer)."""
    x, bn = picture(2, 8, 6, 6), layer(8)
    no_statistics = nn.BatchNorm2d(8, track_running_stats=False)
    return {
        "evaluation": (x, copy.deepcopy(bn).eval()),
        "no running statistics": (x, no_statistics),
        "no affine": (x, nn.BatchNorm2d(8, affine=False)),
        "another layer": (x, nn.SyncBatchNorm(8)),
        "double": (x.double(), bn),
        "half": (x.bfloat16(), bn),
        "channels first": (x.contiguous(), bn),
        "one value per channel": (x[:1, :, :1, :1].contiguous(memory_format=torch.channels_last), bn),
        "meta device": (x.to("meta"), bn),
    }


@pytest.mark.parametrize("name", list(aside()))
def test_it_steps_aside(name):
    assert fusable(picture(2, 8, 6, 6), layer(8))
    x, bn = aside()[name]
    assert not fusable(x, bn)
    with pytest.raises(ValueError, match="batch_norm_act: expected a float32 channels-last CPU tensor"):
        batch_norm_act(x, bn, "relu")


def test_it_steps_aside_without_gradients_under_autocast_and_in_other_threads():
    x, bn = picture(2, 8, 6, 6), layer(8)
    with torch.no_grad():
        assert not fusable(x, bn)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not fusable(x, bn)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(fusable(x, bn)))
    thread.start()
    thread.join()
    assert seen == [False]


@pytest.fixture
def fused(monkeypatch):
    """Which activations were fused with the normalisation before them, in order."""
    calls = []

    def counted(x, bn, activation):
        calls.append(activation)
        return batch_norm_act(x, bn, activation)

    monkeypatch.setattr(zoo.norm_act, "batch_norm_act", counted)
    return calls


NETWORKS = {
    "yolox_nano": lambda: yolox_nano(3),
    "mobilenet_v2": lambda: mobilenet_v2(num_classes=3, width=0.35, dropout=0.0),
    "resnet18": lambda: resnet18(num_classes=3),
    "resnet50": lambda: resnet50(num_classes=3),
    "unet": lambda: unet(num_classes=3, width=0.35),
    "deeplabv3": lambda: deeplabv3(num_classes=3, width=0.35, channels=16, dropout=0.0),
}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_whole_network_trains_alike_with_and_without(name, fused):
    network = NETWORKS[name]().to(memory_format=torch.channels_last)
    torchs = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    double = copy.deepcopy(network).double()
    x = torch.rand(2, 3, 64, 96)
    inputs = (x.contiguous(memory_format=torch.channels_last), x, x.double())
    outputs = [each(batch) for each, batch in zip((network, torchs, double), inputs, strict=True)]
    layers = sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert len(fused) == layers, "all of it must be fused, and nothing of the other two networks"
    upstream = torch.randn_like(outputs[0])
    for output in outputs:
        (output * upstream.to(output.dtype)).sum().backward()
    assert off(outputs[0], outputs[2]) < 1e-3
    for (buffer, mine), truth in zip(network.named_buffers(), double.buffers(), strict=True):
        torch.testing.assert_close(mine.double(), truth.double(), rtol=1e-3, atol=1e-3, msg=buffer)
    # Untrained networks swell float32's rounding, torch's own as well, and a value that crosses 0 turns a gradient on.
    mine, others, truth = (flat_gradient(each) for each in (network, torchs, double))
    assert off(mine, truth) < 1e-2 + 3 * off(others, truth)


def flat_gradient(network):
    return torch.cat([parameter.grad.flatten().double() for parameter in network.parameters()])


def off(found, truth):
    return float((found - truth).detach().norm() / truth.detach().norm())


def test_evaluation_and_export_never_see_it(fused):
    network = yolox_nano(2).to(memory_format=torch.channels_last)
    x = torch.rand(1, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    network.eval()(x)
    unit = ConvUnit(3, 8, 3)
    program = torch.export.export(unit, (torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last),))
    assert fused == []
    assert any("relu" in str(node.target) for node in program.graph.nodes)


def sequence(*layers):
    return NormActSequential(*layers).to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU6()], ["relu6"]),
        ([nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)], ["identity"]),
        ([nn.BatchNorm2d(3), nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.SiLU(), nn.ReLU()], ["identity", "silu"]),
        ([nn.BatchNorm2d(3), nn.GELU()], ["identity"]),
        ([nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.ReLU()], ["identity", "relu"]),
        ([nn.ReLU(), nn.SyncBatchNorm(3).eval()], []),
        ([], []),
    ],
)
def test_a_sequence_fuses_what_has_a_fused_form(layers, expected, fused):
    x = picture(2, 3, 6, 6)
    wanted = copy.deepcopy(nn.Sequential(*layers)).to(memory_format=torch.channels_last)(x)
    assert not fused
    torch.testing.assert_close(sequence(*layers)(x), wanted, rtol=1e-4, atol=1e-5)
    assert fused == expected


def test_another_activation_is_called_as_it_is(fused):
    x, bn = picture(2, 8, 6, 6), layer(8)
    torch.testing.assert_close(norm_act(x, bn, nn.Tanh()), bn(x).tanh())
    assert fused == []


POOL = "from numba.np.ufunc import omppool"
LAYER = "from zoo.norm_act import _threads_agree; print(_threads_agree())"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere torch brings another OpenMP runtime")
@pytest.mark.parametrize(
    ("imports", "policy", "expected"),
    [
        (f"{POOL}; import torch; {LAYER}", "ACTIVE", "True"),
        (f"import torch; {POOL}; {LAYER}", "ACTIVE", "False"),
        (f"import torch; {POOL}; {LAYER}", "passive", "True"),
    ],
)
def test_two_pools_of_spinning_threads_are_noticed(imports, policy, expected):
    environment = os.environ | {"OMP_WAIT_POLICY": policy, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", imports], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_two_pools_make_it_step_aside_unless_torch_runs_alone(monkeypatch):
    x, bn = picture(2, 8, 6, 6), layer(8)
    monkeypatch.setattr(zoo.norm_act, "_threads_agree", lambda: False)
    for threads, expected in ((1, True), (2, False)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert fusable(x, bn) is expected


@pytest.mark.parametrize("activation", [None, nn.ReLU(inplace=True), nn.ReLU6(inplace=True), nn.SiLU(), nn.Hardswish()])
@pytest.mark.parametrize("bias", [False, True])
def test_fixed_statistics_fold_into_the_convolution_with_its_gradients(activation, bias):
    conv, bn = nn.Conv2d(6, 9, 3, 2, 1, groups=3, bias=bias).double(), layer(9).double().eval()
    x = picture(2, 6, 9, 7).double().requires_grad_()
    learnt = (x, *conv.parameters(), *bn.parameters())
    wanted = bn(conv(x))
    wanted = wanted if activation is None else activation(wanted.clone())
    given = conv_norm_act(x, conv, bn, activation)
    upstream = torch.randn_like(wanted)
    torch.testing.assert_close(given, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(given, learnt, upstream), torch.autograd.grad(wanted, learnt, upstream)
    )


@pytest.mark.parametrize("make", [mobilenet_v2, resnet18, yolox_nano])
def test_no_network_passes_over_a_feature_map_to_normalise_by_fixed_statistics(make):
    network = make(num_classes=3).to(memory_format=torch.channels_last).train()
    kept = [module.eval() for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        network(picture(2, 3, 64, 64)).square().mean().backward()
    assert kept
    assert not [event.key for event in profile.key_averages() if "batch_norm" in event.key]
    assert all(bn.weight.grad is not None and bn.running_mean.abs().sum() == 0 for bn in kept)
