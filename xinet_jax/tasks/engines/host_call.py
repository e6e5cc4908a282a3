"""A function of numpy arrays inside a compiled program on the CPU, by name instead of by address.

`jax.pure_callback` writes the address of the Python function into the program, so JAX cannot keep that program from run
to run, and hands arrays over as JAX arrays, which takes longer than a step of a small MuJoCo model. A custom call of
XLA's foreign function interface is found by its name, and is handed the buffers themselves. Its handlers are C
functions; this one is made by `ctypes`. The structures below are those of `xla/ffi/api/c_api.h`, which stay as they are
within a major version of that interface (now 0).
"""

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Function = Callable[[np.ndarray], np.ndarray]

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


class _Api(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("version", _Version),
        ("internal", ctypes.c_void_p),
        ("create_error", _CreateError),
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
_registered: dict[str, object] = {}  # XLA holds the addresses of these for as long as the process lives
_registering = threading.Lock()
_interrupts: list[KeyboardInterrupt] = []  # that came while a program was on the host


@contextlib.contextmanager
def hearing_interrupts() -> Iterator[None]:
    """Surrounds calls of compiled programs: a KeyboardInterrupt that came on the host is raised, not XLA's error."""
    _interrupts.clear()
    try:
        yield
    except Exception:
        if _interrupts:
            raise _interrupts.pop() from None
        raise


def host_call(function: Function, name: str, size: int) -> Callable[[Array], Array]:
    """Returns a function for compiled programs that calls `function` on the host, one call for a whole batch.

    Where the program does not run on a CPU it is `jax.pure_callback`.

    Args:
      function: maps `[*batch, inputs]` to `[*batch, size]`, both float32. It must not keep its argument, which is the
        program's own memory, and may be called from several threads at a time.
      name: says all that the function's results depend on; the first function of a name stays.
      size: length of a result.
    """
    name = f"xinet_jax.{name}"
    with _registering:
        if name not in _registered:
            handler = _make_handler(function)
            address = ctypes.cast(handler, ctypes.c_void_p).value
            jax.ffi.register_ffi_target(name, _capsule(address), platform="cpu")
            _registered[name] = handler

    def by_name(x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch size"]:
        result = jax.ShapeDtypeStruct((*x.shape[:-1], size), jnp.float32)
        return jax.ffi.ffi_call(name, result, vmap_method="expand_dims")(x)

    def by_address(x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch size"]:
        result = jax.ShapeDtypeStruct((*x.shape[:-1], size), jnp.float32)
        return jax.pure_callback(lambda own: function(np.asarray(own)), result, x, vmap_method="expand_dims")

    return lambda x: jax.lax.platform_dependent(x.astype(jnp.float32), cpu=by_name, default=by_address)


def _make_handler(function: Function) -> object:
    def handler(pointer: "ctypes._Pointer[_Frame]") -> int | None:
        frame = pointer.contents
        if frame.extension and frame.extension.contents.type == _METADATA_EXTENSION:
            metadata = ctypes.cast(frame.extension, ctypes.POINTER(_MetadataExtension)).contents.metadata.contents
            metadata.version.major, metadata.version.minor = _API_VERSION
            metadata.traits = 0
        elif frame.stage == _EXECUTE:
            try:
                argument, result = (_array(own.buffers[0]) for own in (frame.arguments, frame.results))
                argument.flags.writeable = False
                found = function(argument)
                if found.shape != result.shape:
                    raise ValueError(f"a host function must return shape {result.shape}, not {found.shape}")
                result[...] = found
            except BaseException as error:  # an exception must not leave a C function
                if isinstance(error, KeyboardInterrupt):
                    _interrupts.append(error)
                message = f"{type(error).__name__}: {error}".encode()
                size = ctypes.sizeof(_ErrorArguments)
                return frame.api.contents.create_error(_ErrorArguments(size, None, message, _INTERNAL_ERROR))
        return None

    return _Handler(handler)


def _array(buffer: "ctypes._Pointer[_Buffer]") -> np.ndarray:
    """Returns a view of a buffer of float32."""
    own = buffer.contents
    if own.dtype != _FLOAT32:
        raise TypeError(f"host functions take and give float32, not XLA's type {own.dtype}")
    shape = tuple(own.dims[: own.rank])
    return np.ctypeslib.as_array(ctypes.cast(own.data, ctypes.POINTER(ctypes.c_float)), shape)


def _capsule(address: int) -> object:
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return new(address, b"xla._CUSTOM_CALL_TARGET", None)
