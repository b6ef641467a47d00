"""Reading a DLPack capsule: the way to the memory of libraries that have no ``__cuda_array_interface__``."""

from __future__ import annotations

import ctypes
from typing import Any

_CUDA, _CUDA_MANAGED = 2, 13
_KINDS = {0: "i", 1: "u", 2: "f", 5: "c", 6: "b"}


class _Tensor(ctypes.Structure):
    """DLTensor of dlpack.h, the part of a managed tensor that says what lies where."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def is_cuda_dlpack(value: Any) -> bool:
    """Whether it offers DLPack and lies in the memory of a CUDA device."""
    return hasattr(value, "__dlpack_device__") and value.__dlpack_device__()[0] in (_CUDA, _CUDA_MANAGED)


def dlpack_interface(value: Any, stream: int) -> tuple[dict[str, Any], Any]:
    """Return a ``__cuda_array_interface__`` of the array and what must live as long as it is used.

    ``stream`` is where it will be read: its owner makes that wait for what is still being written.
    """
    capsule = value.__dlpack__(stream=stream)
    return tensor_interface(capsule), capsule  # the capsule gives the memory back when nobody holds it any more


def tensor_interface(capsule: Any) -> dict[str, Any]:
    """Read a capsule, of any device."""
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = _Tensor.from_address(pointer_of(capsule, b"dltensor"))
    if tensor.code not in _KINDS or tensor.lanes != 1:
        raise TypeError(f"expected numbers that NumPy has, got DLPack type {tensor.code} of {tensor.bits} bits")
    size = tensor.bits // 8
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(size * step for step in tensor.strides[: tensor.ndim]) if tensor.strides else None
    return {
        "shape": shape,
        "strides": strides,
        "typestr": f"{'|' if size == 1 else '<'}{_KINDS[tensor.code]}{size}",
        "data": ((tensor.data or 0) + tensor.byte_offset, False),
        "version": 3,
    }
