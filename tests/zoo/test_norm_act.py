"""The fused layer against torch's own two layers: results, gradients, running statistics, and when it steps aside."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo.norm_act
import zoo.yolox
from zoo.norm_act import batch_norm_silu, fusable
from zoo.yolox import ConvUnit, yolox_nano

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


def gradients_of(function, x, bn, upstream):
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = function(x, bn)
    return y.detach(), *torch.autograd.grad(y, (x, bn.weight, bn.bias), upstream)


def plain(x, bn):
    return F.silu(bn(x))


@pytest.fixture(autouse=True)
def _prepare(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(zoo.norm_act, "_threads_agree", lambda: True)  # whatever the machine; tested on its own below


@pytest.mark.parametrize(("offset", "spread"), [(0.5, 2.0), (1e3, 1e-1)])
@pytest.mark.parametrize("shape", SHAPES)
def test_as_close_to_float64_as_torch_itself(shape, offset, spread):
    x, bn = picture(*shape, offset=offset, spread=spread), layer(shape[1])
    upstream = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    fused = gradients_of(batch_norm_silu, x, copy.deepcopy(bn), upstream)
    single = gradients_of(plain, x, copy.deepcopy(bn), upstream)
    double = gradients_of(plain, x.double(), copy.deepcopy(bn).double(), upstream.double())
    count = x.numel() // x.shape[1]
    # Of two values dx is nearly nothing, left over from cancellation: its measure is the gradient that went in.
    floors = (0.0, 1e-1 * float(upstream.abs().max()) if count < 8 else 0.0, 1e-2, 1e-2)
    for mine, torchs, truth, floor in zip(fused, single, double, floors, strict=True):
        size = max(float(truth.abs().max()), floor)
        error = float((mine - truth).abs().max()) / size
        assert error < max(1e-5, 4e-7 * abs(offset) / spread)
        assert error <= 4 * float((torchs - truth).abs().max()) / size + 2e-6


@pytest.mark.parametrize("momentum", [0.03, 0.1, None])
def test_running_statistics_move_as_in_torch(momentum):
    fused, torchs = (copy.deepcopy(bn) for bn in [layer(24, momentum=momentum)] * 2)
    for step in range(4):
        x = picture(2, 24, 9, 11, offset=step)
        batch_norm_silu(x, fused)
        plain(x, torchs)
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
        expected = gradients_of(plain, x, copy.deepcopy(bn), upstream)
        for mine, torchs in zip(gradients_of(batch_norm_silu, x, copy.deepcopy(bn), upstream), expected, strict=True):
            torch.testing.assert_close(
                mine, torchs, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
            )


def test_double_backward_is_refused_not_wrong():
    x, bn = picture(1, 3, 4, 4).requires_grad_(), layer(3)
    (first,) = torch.autograd.grad(batch_norm_silu(x, bn).square().sum(), x, create_graph=True)
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
    with pytest.raises(ValueError, match="batch_norm_silu: expected a float32 channels-last CPU tensor"):
        batch_norm_silu(x, bn)


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
def count_fused(monkeypatch):
    calls = []

    def counted(x, bn):
        calls.append(tuple(x.shape))
        return batch_norm_silu(x, bn)

    monkeypatch.setattr(zoo.yolox, "batch_norm_silu", counted)
    return calls


def test_a_whole_network_trains_alike_with_and_without(count_fused, monkeypatch):
    network = yolox_nano(3).to(memory_format=torch.channels_last)
    twin = copy.deepcopy(network).double()
    x = torch.rand(2, 3, 64, 96).contiguous(memory_format=torch.channels_last)
    upstream = None
    for one, picture_batch in ((network, x), (twin, x.double())):
        output = one(picture_batch)
        upstream = torch.randn_like(output) if upstream is None else upstream.double()
        (output * upstream).sum().backward()
    units = sum(isinstance(m, ConvUnit) for m in network.modules())
    assert len(count_fused) == units, "the double network must not use it"
    for (name, mine), truth in zip(network.named_parameters(), twin.parameters(), strict=True):
        error = (mine.grad - truth.grad).norm() / (truth.grad.norm() + 1e-3)
        assert error < 2e-3, f"{name}: {float(error)}"
    for (name, mine), truth in zip(network.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(mine.double(), truth.double(), rtol=1e-4, atol=1e-5, msg=name)


def test_evaluation_and_export_never_see_it(count_fused):
    network = yolox_nano(2).to(memory_format=torch.channels_last)
    x = torch.rand(1, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    network.eval()(x)
    unit = ConvUnit(3, 8, 3)
    program = torch.export.export(unit, (torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last),))
    assert count_fused == []
    assert any("silu" in str(node.target) for node in program.graph.nodes)


def test_another_activation_is_not_replaced(count_fused):
    unit = ConvUnit(3, 8, 3).to(memory_format=torch.channels_last)
    unit.act = nn.Identity()
    assert float(unit(picture(2, 3, 8, 8)).detach().min()) < -1
    assert count_fused == []


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
