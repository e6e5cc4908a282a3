"""Options of XLA, and handlers of its foreign function interface: C functions that `ctypes` makes of Python's.

The structures are those of `xla/ffi/api/c_api.h`, which stay as they are within a major version of that interface
(now 0).
"""

import ctypes
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

Function = Callable[[np.ndarray], np.ndarray]
OnInterrupt = Callable[[KeyboardInterrupt], None]

_TRITON = "xla_gpu_enable_triton_gemm"
_API_VERSION = (0, 1)  # the oldest with these structures
_METADATA_EXTENSION, _EXECUTE, _INTERNAL_ERROR, _FLOAT32 = 1, 3, 13, 11


class _Extension(ctypes.Structure):
    _fields_ = (("size", ctypes.c_size_t), ("type", ctypes.c_int), ("next", ctypes.c_void_p))


class _Version(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("major", ctypes.c_int),
        ("minor", ctypes.c_int),
    )


class _Metadata(ctypes.Structure):
    _fields_ = (("size", ctypes.c_size_t), ("version", _Version), ("traits", ctypes.c_uint32))


class _MetadataExtension(ctypes.Structure):
    _fields_ = (("base", _Extension), ("metadata", ctypes.POINTER(_Metadata)))


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("dtype", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("rank", ctypes.c_int64),
        ("dims", ctypes.POINTER(ctypes.c_int64)),
    )


class _Buffers(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("types", ctypes.c_void_p),
        ("buffers", ctypes.POINTER(ctypes.POINTER(_Buffer))),
    )


class _ErrorArguments(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("message", ctypes.c_char_p),
        ("code", ctypes.c_int),
    )


_CreateError = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_ErrorArguments))


class _StreamArguments(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
        ("stream", ctypes.c_void_p),
    )


_GetStream = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_StreamArguments))


class _Api(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("version", _Version),
        ("internal", ctypes.c_void_p),
        ("create_error", _CreateError),
        ("error_details", ctypes.c_void_p),
        ("destroy_error", ctypes.c_void_p),
        ("register", ctypes.c_void_p),
        ("get_stream", _GetStream),
    )


class _Frame(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.POINTER(_Extension)),
        ("api", ctypes.POINTER(_Api)),
        ("context", ctypes.c_void_p),
        ("stage", ctypes.c_int),
        ("arguments", _Buffers),
        ("results", _Buffers),
    )


_Handler = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Frame))


def jit_options(platform: str) -> dict[str, Any]:
    """Returns what `jax.jit` is to be told on one of JAX's platforms.

    On GPUs, matrix products are left to cuBLAS. XLA would otherwise try kernels of Triton for each, which takes minutes
    to compile in full float32 (docs: scaling). What the user has set in `XLA_FLAGS` stays.
    """
    if platform not in ("gpu", "cuda") or _TRITON in os.environ.get("XLA_FLAGS", ""):
        return {}
    return {"compiler_options": {_TRITON: False}}


def register(function: Function, name: str, on_interrupt: OnInterrupt) -> list[object]:
    """Registers a function of one float32 array that compiled programs on CPUs and NVIDIA's GPUs call by name.

    Args:
      function: maps an array to one of the result's shape; it must not write to its argument or keep it.
      name: the name, unique in the process.
      on_interrupt: is called with a KeyboardInterrupt that came while the function ran; XLA gets an error.

    Returns:
      The handlers. XLA has their addresses: they must live as long as the process.
    """

    def on_cpu(frame: _Frame) -> None:
        argument, result = (_array(*_data(every)) for every in (frame.arguments, frame.results))
        result[...] = _checked(function(_read_only(argument)), result.shape)

    def on_cuda(frame: _Frame) -> None:
        stream = _stream(frame)
        _write(frame, function(_read(frame, stream)), stream)

    return [_register(on_cpu, name, "cpu", on_interrupt), _register(on_cuda, name, "CUDA", on_interrupt)]


def register_in_two(function: Function, name: str, on_interrupt: OnInterrupt) -> list[object]:
    """Registers a function for NVIDIA's GPUs as two: `NAME.begin` and, with the result, `NAME.finish`.

    In between, the program goes on while the function runs in another thread. Arguments and result as in `register`;
    `begin`'s result is not written, and only orders the two. In one program they must come in turn.
    """
    # By thread and stream: XLA launches all of a program on a device in one thread, and every device has its stream.
    begun: dict[tuple[int, int], Future] = {}

    def begin(frame: _Frame) -> None:
        stream = _stream(frame)
        begun[threading.get_ident(), stream] = _threads().submit(function, _read(frame, stream))

    def finish(frame: _Frame) -> None:
        stream = _stream(frame)
        _write(frame, begun.pop((threading.get_ident(), stream)).result(), stream)

    return [
        _register(begin, f"{name}.begin", "CUDA", on_interrupt),
        _register(finish, f"{name}.finish", "CUDA", on_interrupt),
    ]


def _register(execute: Callable[[_Frame], None], name: str, platform: str, on_interrupt: OnInterrupt) -> object:
    def handler(pointer: "ctypes._Pointer[_Frame]") -> int | None:
        frame = pointer.contents
        if frame.extension and frame.extension.contents.type == _METADATA_EXTENSION:
            metadata = ctypes.cast(frame.extension, ctypes.POINTER(_MetadataExtension)).contents.metadata.contents
            metadata.version.major, metadata.version.minor = _API_VERSION
            metadata.traits = 0
        elif frame.stage == _EXECUTE:
            try:
                execute(frame)
            except BaseException as error:  # an exception must not leave a C function
                if isinstance(error, KeyboardInterrupt):
                    on_interrupt(error)
                message = f"{type(error).__name__}: {error}".encode()
                size = ctypes.sizeof(_ErrorArguments)
                return frame.api.contents.create_error(_ErrorArguments(size, None, message, _INTERNAL_ERROR))
        return None

    made = _Handler(handler)
    address = ctypes.cast(made, ctypes.c_void_p).value
    jax.ffi.register_ffi_target(name, _capsule(address), platform=platform)
    return made


def _stream(frame: _Frame) -> int:
    """Returns the CUDA stream that the program runs in."""
    arguments = _StreamArguments(ctypes.sizeof(_StreamArguments), None, frame.context, None)
    if frame.api.contents.get_stream(arguments):
        raise RuntimeError("XLA does not give its stream to a host function")
    return arguments.stream or 0


def _read(frame: _Frame, stream: int) -> np.ndarray:
    """Returns the argument, copied from the GPU."""
    address, shape = _data(frame.arguments)
    argument = np.empty(shape, np.float32)
    _succeeds(_cuda().cuMemcpyDtoHAsync_v2(argument.ctypes.data, address, argument.nbytes, stream))
    _succeeds(_cuda().cuStreamSynchronize(stream))
    return _read_only(argument)


def _write(frame: _Frame, value: np.ndarray, stream: int) -> None:
    """Copies the result to the GPU. Memory that is not page-locked is read before the call returns."""
    address, shape = _data(frame.results)
    result = np.ascontiguousarray(_checked(value, shape), np.float32)
    _succeeds(_cuda().cuMemcpyHtoDAsync_v2(address, result.ctypes.data, result.nbytes, stream))


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(jax.local_device_count(), thread_name_prefix="host_call")


@functools.cache
def _cuda() -> ctypes.CDLL:
    """Returns NVIDIA's driver, which a process with a GPU has loaded."""
    library, pointer, size = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p, ctypes.c_size_t
    library.cuMemcpyDtoHAsync_v2.argtypes = library.cuMemcpyHtoDAsync_v2.argtypes = (pointer, pointer, size, pointer)
    library.cuStreamSynchronize.argtypes = (pointer,)
    return library


def _succeeds(status: int) -> None:
    if status:
        raise RuntimeError(f"CUDA error {status} while a host function's numbers were copied")


def _read_only(argument: np.ndarray) -> np.ndarray:
    argument.flags.writeable = False
    return argument


def _checked(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if value.shape != shape:
        raise ValueError(f"a host function must return shape {shape}, not {value.shape}")
    return value


def _data(buffers: _Buffers) -> tuple[int, tuple[int, ...]]:
    """Returns address and shape of the first of some buffers, which must be of float32."""
    content = buffers.buffers[0].contents
    if content.dtype != _FLOAT32:
        raise TypeError(f"host functions take and give float32, not XLA's type {content.dtype}")
    return content.data, tuple(content.dims[: content.rank])


def _array(address: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a view of float32 numbers in the host's memory."""
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_float)), shape)


def _capsule(address: int) -> object:
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return new(address, b"xla._CUSTOM_CALL_TARGET", None)
