"""Where the arrays of a call lie: in host memory, or in that of a CUDA device.

`memory_of` answers with one of two objects that check arrays in the same words and make the results; an operator
then calls its kernel for the CPU, or launches the twin. Nothing passes through the host.
"""

from __future__ import annotations

import math
import sys
from typing import Any, Literal

import numpy as np

from ops._check import any_host_array, check_array, describe, host_array, mask_bytes, output_array, writable
from ops._cuda import SIMULATED, CudaKernel, cuda, cuda_kernel, numba_cuda
from ops._dlpack import dlpack_interface, is_cuda_dlpack

# CUDA's name for the default stream where 0 would be taken for none.
_LEGACY = 1


def _full(shape: int | tuple[int, ...], dtype: Any, value: int) -> Any:
    return np.full(shape, value, dtype)


class HostMemory:
    """NumPy arrays, and what NumPy can read."""

    on_device: Literal[False] = False
    array = staticmethod(host_array)
    any_array = staticmethod(any_host_array)
    output = staticmethod(output_array)
    mask = staticmethod(mask_bytes)
    full = staticmethod(_full)
    shared = staticmethod(np.may_share_memory)  # exact for contiguous arrays


class DeviceMemory:
    """Device arrays of one call, on the caller's stream. Results are numba device arrays, which others take as is.

    Where tensors came the memory of results is torch's: it keeps what it once had of the card for itself, so that the
    driver might have none left, and takes back what was used on its stream without waiting for the device.
    """

    on_device: Literal[True] = True

    def __init__(self, values: dict[str, Any]) -> None:
        self._cuda = numba_cuda()
        _on_current_device(values, self._cuda)
        self._handle = next((handle for handle in map(_stream_handle, values.values()) if handle is not None), 0)
        self.stream: Any = self._cuda.external_stream(self._handle) if self._handle else 0
        self._of_torch = next((value.device for value in values.values() if _is_tensor(value)), None)

    def array(self, value: Any, name: str, dtype: Any, shape: tuple[int | str, ...]) -> Any:
        """Return ``value`` as a C-contiguous device array; see `host_array`."""
        array = self._wrapped(value, name)
        check_array(array, name, dtype, shape)
        if array.is_c_contiguous():
            return array
        copy = self.empty(tuple(array.shape), dtype)
        copy[...] = array
        return copy

    def mask(self, value: Any, name: str, shape: tuple[int | str, ...]) -> Any:
        """Return a bool or uint8 mask as C-contiguous bytes; see `mask_bytes`."""
        array = self._wrapped(value, name)
        return self.array(array, name, np.bool_ if array.dtype == np.bool_ else np.uint8, shape).view(np.uint8)

    def any_array(self, value: Any, name: str, dtypes: tuple[str, ...]) -> Any:
        """Return ``value`` as a C-contiguous device array of one of these dtypes and of any shape."""
        array = self._wrapped(value, name)
        if array.dtype.name not in dtypes:
            raise TypeError(f"{name}: expected {' or '.join(dtypes)}, got {describe(array)}; convert it first")
        return self.array(array, name, array.dtype, tuple(array.shape))

    def output(self, out: Any, dtype: Any, shape: tuple[int, ...], name: str = "out") -> Any:
        """Return ``out`` if it can be written in place, a new device array if it is ``None``; see `output_array`."""
        if out is None:
            return self.empty(shape, dtype)
        array = self._wrapped(out, name)
        read_only = getattr(out, "__cuda_array_interface__", {}).get("data", (0, False))[1]
        if array.dtype != dtype or tuple(array.shape) != shape or not array.is_c_contiguous() or read_only:
            raise ValueError(f"{name}: expected {writable(dtype, shape)}, got {describe(array)}")
        return array

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Any:
        """A device array of any content."""
        sizes = tuple(map(int, shape)) if isinstance(shape, tuple) else (int(shape),)
        if self._of_torch is None or 0 in sizes:
            return self._cuda.device_array(sizes, np.dtype(dtype), stream=self.stream)
        interface, owner = _torch_memory(sizes, np.dtype(dtype), self._of_torch)
        interface["stream"] = self._handle or None
        return self._cuda.from_cuda_array_interface(interface, owner=owner, sync=False)

    def table(self, rows: Any, dtype: Any) -> Any:
        """Bring a few numbers that are arguments of a call to the device: no pixels, no boxes."""
        host = np.ascontiguousarray(rows, dtype)
        array = self.empty(host.shape, dtype)
        array.copy_to_device(host, stream=self.stream)
        return array

    def full(self, shape: int | tuple[int, ...], dtype: Any, value: int) -> Any:
        """A device array of one whole number."""
        array = self.empty(shape, dtype)
        self.launch(_FILL[np.dtype(dtype).name], array.size, array.reshape(array.size), value)
        return array

    def numbers(self, array: Any) -> list[int]:
        """Read the few whole numbers in a device array: how long a result is. Waits for what was launched."""
        return [int(number) for number in self.fetched(array)]

    def fetched(self, array: Any) -> Any:
        """Bring to the host what an answer in Python is made of: the runs of a mask, never its pixels."""
        host = array.copy_to_host(stream=self.stream)
        if self.stream:
            self.stream.synchronize()
        return host

    def shared(self, a: Any, b: Any) -> bool:
        """Whether two contiguous arrays share memory."""
        (start_a, end_a), (start_b, end_b) = _extent(a), _extent(b)
        return start_a < end_b and start_b < end_a

    def launch(self, kernel: CudaKernel, counts: int | tuple[int, ...], *arguments: Any) -> None:
        """Launch a twin with at least so many threads along each axis; they go on with what is left."""
        kernel.launch(self.stream, counts, *arguments)

    def _wrapped(self, value: Any, name: str) -> Any:
        theirs = _stream_handle(value)
        if theirs is not None and (theirs or _LEGACY) != (self._handle or _LEGACY):
            self._cuda.external_stream(theirs or _LEGACY).synchronize()  # its values may not be there yet
        if hasattr(value, "__cuda_ndarray__"):
            return value
        interface = getattr(value, "__cuda_array_interface__", None)
        owner = value
        if interface is None:
            interface, owner = dlpack_interface(value, self._handle or _LEGACY)
        if interface.get("mask") is not None:
            raise TypeError(f"{name}: expected an array without a mask, got one with a mask")
        return self._cuda.from_cuda_array_interface(interface, owner=owner, sync=False)


def _fill(array, value):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), array.size, cuda.gridsize(1)):
        array[i] = value


_FILL = {
    name: cuda_kernel(f"void({name}[::1], {name})", label=name)(_fill)
    for name in ("uint8", "int64", "uint64", "float32")
}

HOST = HostMemory()


Memory = HostMemory | DeviceMemory


def memory_of(**values: Any) -> Memory:
    """Return the memory that these arguments lie in; ``None`` lies in any. Raises ``TypeError`` if they are mixed."""
    if not any(type(value) is not np.ndarray and is_on_device(value) for value in values.values()):
        return HOST
    for name, value in values.items():
        if value is not None and not is_on_device(value):
            other = next(name for name, value in values.items() if is_on_device(value))
            raise TypeError(
                f"{name}: expected a device array, as {other} is one, got {describe(value)} in host memory;"
                " copy one of them to where the other lies"
            )
    return DeviceMemory({name: value for name, value in values.items() if value is not None})


def is_on_device(value: Any) -> bool:
    """Whether it is an array of a CUDA device, of whatever library. Imports none."""
    if value is None or isinstance(value, (np.ndarray, np.generic, list, tuple, int, float)):
        return False
    return hasattr(value, "__cuda_ndarray__") or hasattr(value, "__cuda_array_interface__") or is_cuda_dlpack(value)


def _extent(array: Any) -> tuple[int, int]:
    start = array.ctypes.data if SIMULATED else array.__cuda_array_interface__["data"][0]
    return start, start + array.nbytes


def _stream_handle(value: Any) -> int | None:
    """The stream that the caller works on: what the array says, for a tensor torch's present one."""
    if _is_tensor(value):
        return int(sys.modules["torch"].cuda.current_stream(value.device).cuda_stream)
    handle = getattr(value, "__cuda_array_interface__", {}).get("stream")
    return None if handle is None else int(handle)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _torch_memory(shape: tuple[int, ...], dtype: Any, device: Any) -> tuple[dict[str, Any], Any]:
    """An array's ``__cuda_array_interface__`` in memory of torch's, and the tensor of bytes that holds it."""
    torch = sys.modules["torch"]
    owner = torch.empty(math.prod(shape) * dtype.itemsize, dtype=torch.uint8, device=device)
    data = owner.data_ptr(), False
    return {"shape": shape, "strides": None, "typestr": dtype.str, "data": data, "version": 3}, owner


def _on_current_device(values: dict[str, Any], cuda: Any) -> None:
    for name, value in values.items():
        if is_cuda_dlpack(value):
            index, current = value.__dlpack_device__()[1], cuda.get_current_device().id
            if index != current:
                raise ValueError(
                    f"{name}: expected an array of the current CUDA device, {current}, got one of device {index};"
                    " make that the current one"
                )
