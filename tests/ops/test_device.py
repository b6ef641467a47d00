"""Which arrays are device arrays and on which stream their caller works, told by stand-ins: no GPU is needed."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ops import _device
from ops._device import HOST, _on_current_device, _stream_handle, is_on_device, memory_of
from ops._dlpack import dlpack_interface, is_cuda_dlpack, tensor_interface


class Interface:
    """An array of a library that offers the interface."""

    def __init__(self, **more: Any) -> None:
        self.__cuda_array_interface__ = {"shape": (2,), "typestr": "<f4", "data": (16, False), "version": 3, **more}


class HostTensor:
    """torch's: the class has the attribute, a tensor of the CPU has not."""

    @property
    def __cuda_array_interface__(self) -> Any:
        raise AttributeError

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


class Capsule:
    """An array that only offers DLPack."""

    def __init__(self, kind: int, index: int = 0) -> None:
        self.kind, self.index, self.asked = kind, index, []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, self.index

    def __dlpack__(self, stream: Any = None) -> Any:
        self.asked.append(stream)
        return np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::2].__dlpack__()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.zeros(2), False), (None, False), ([1.0], False), (3.0, False), (np.float32(1), False), ("text", False),
        (Interface(), True), (HostTensor(), False), (Capsule(1), False), (Capsule(2), True), (Capsule(13), True),
        (Capsule(10), False),  # ROCm
    ],
)  # fmt: skip
def test_is_on_device(value: Any, expected: bool) -> None:
    assert is_on_device(value) is expected


def test_host_arrays_have_the_hosts_memory() -> None:
    assert memory_of(a=np.zeros(2), b=[1], out=None, c=HostTensor()) is HOST


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Interface(), None), (Interface(stream=None), None), (Interface(stream=1), 1), (Interface(stream=94), 94),
        (Capsule(2), None),
    ],
)  # fmt: skip
def test_the_callers_stream(value: Any, expected: int | None) -> None:
    assert _stream_handle(value) == expected


def test_a_tensors_stream_is_torchs_present_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tensor(Interface):
        device = "cuda:1"

    streams = {"cuda:1": SimpleNamespace(cuda_stream=77)}
    torch = SimpleNamespace(Tensor=Tensor, cuda=SimpleNamespace(current_stream=streams.__getitem__))
    monkeypatch.setitem(sys.modules, "torch", torch)  # type: ignore[arg-type]
    assert _stream_handle(Tensor()) == 77
    assert _stream_handle(Interface(stream=5)) == 5


class Seen:
    """Stands for a device array: what its interface says, read by NumPy, which knows it by another name."""

    def __init__(self, interface: dict[str, Any], owner: Any, sync: bool) -> None:
        self.stream, self.owner = interface["stream"], owner
        self.__array_interface__ = {name: value for name, value in interface.items() if name != "stream"}


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32", "uint64", "float64"])
@pytest.mark.parametrize("shape", [5, (2, 3), (4, 1, 7)])
def test_results_beside_tensors_lie_in_torchs_memory(monkeypatch: pytest.MonkeyPatch, shape: Any, dtype: str) -> None:
    cuda = SimpleNamespace(external_stream=lambda handle: handle, from_cuda_array_interface=Seen)
    monkeypatch.setattr(_device, "numba_cuda", lambda: cuda)
    stream = SimpleNamespace(cuda_stream=77)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    memory = _device.DeviceMemory({"mask": torch.zeros(3)})
    made = memory.empty(shape, dtype)
    array = np.asarray(made)
    assert (array.shape, array.dtype) == (np.empty(shape).shape, np.dtype(dtype))
    assert array.ctypes.data == made.owner.data_ptr()
    assert array.nbytes == made.owner.nbytes
    assert made.stream == memory.stream == 77
    array[...] = 1  # it may be written


def test_an_array_of_another_device_is_refused() -> None:
    cuda = SimpleNamespace(get_current_device=lambda: SimpleNamespace(id=0))
    _on_current_device({"image": Capsule(2, 0), "out": Interface()}, cuda)
    with pytest.raises(ValueError, match=r"^out: expected an array of the current CUDA device, 0, got one of device 1"):
        _on_current_device({"image": Capsule(2, 0), "out": Capsule(2, 1)}, cuda)


def test_waits_for_other_streams_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first array's stream is the call's; what another stream may still be writing is waited for."""
    waited: list[int] = []

    def external_stream(handle: int) -> Any:
        return SimpleNamespace(handle=handle, synchronize=lambda: waited.append(handle))

    wrapped = SimpleNamespace(dtype=np.dtype(np.float32), shape=(2,), is_c_contiguous=lambda: True)
    cuda = SimpleNamespace(
        external_stream=external_stream, from_cuda_array_interface=lambda interface, owner, sync: wrapped
    )
    monkeypatch.setattr(_device, "numba_cuda", lambda: cuda)
    arrays = {"a": Interface(), "b": Interface(stream=5), "c": Interface(stream=5), "d": Interface(stream=7)}
    memory = memory_of(**arrays, out=None)
    assert memory.on_device
    assert memory.stream.handle == 5
    for name, value in arrays.items():
        assert memory.array(value, name, np.float32, ("N",)) is wrapped
    assert waited == [7]
    with pytest.raises(TypeError, match=r"^m: expected an array without a mask"):
        memory.array(Interface(mask=Interface()), "m", np.float32, ("N",))


ARRAYS = [
    np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    np.arange(24, dtype=np.uint8).reshape(4, 6)[1::2, ::-1],
    np.zeros((0, 4), np.int64),
    np.array([True, False]),
    np.float16([1, 2, 3]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_a_capsule_is_read_as_numpy_reads_it(array: Any) -> None:
    """NumPy writes capsules too, of host memory: the same words, which ``__array_interface__`` repeats."""
    capsule = array.__dlpack__()
    found, expected = tensor_interface(capsule), array.__array_interface__
    assert found["data"][0] == expected["data"][0] or not array.size
    assert (found["shape"], found["typestr"]) == (expected["shape"], expected["typestr"])
    assert found["strides"] in (None, array.strides) or not array.size


def test_the_owner_is_told_where_its_capsule_is_read() -> None:
    value = Capsule(2)
    interface, owner = dlpack_interface(value, 94)
    assert value.asked == [94]
    assert interface["shape"] == (2, 2)
    assert owner is not value
    assert is_cuda_dlpack(value)


def test_a_type_that_numpy_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops._dlpack._KINDS", {})
    with pytest.raises(TypeError, match="expected numbers that NumPy has, got DLPack type 2 of 32 bits"):
        tensor_interface(np.zeros(2, np.float32).__dlpack__())
