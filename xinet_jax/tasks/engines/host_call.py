"""A function of numpy arrays inside a compiled program, by name instead of by address.

`jax.pure_callback` writes the address of the Python function into the program, so JAX cannot keep that program from run
to run, and hands arrays over as JAX arrays, which takes longer than a step of a small MuJoCo model. A custom call of
XLA's foreign function interface is found by its name, and is handed the buffers themselves (`xinet_jax.compat.xla`).
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xinet_jax.compat.xla import register, register_in_two

Function = Callable[[np.ndarray], np.ndarray]

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

    Where the program runs neither on a CPU nor on an NVIDIA GPU it is `jax.pure_callback`.

    Args:
      function: maps `[*batch, inputs]` to `[*batch, size]`, both float32. It must not keep its argument, which may be
        the program's own memory, and may be called from several threads at a time.
      name: says all that the function's results depend on; the first function of a name stays.
      size: length of a result.
    """
    name = _register_once(register, function, name)

    def by_name(x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch size"]:
        return _ffi_call(name, x, size)(x)

    def by_address(x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch size"]:
        result = jax.ShapeDtypeStruct((*x.shape[:-1], size), jnp.float32)
        return jax.pure_callback(lambda array: function(np.asarray(array)), result, x, vmap_method="expand_dims")

    return lambda x: jax.lax.platform_dependent(x.astype(jnp.float32), cpu=by_name, cuda=by_name, default=by_address)


def host_call_in_two(function: Function, name: str, size: int) -> tuple[Callable, Callable]:
    """Returns two functions for compiled programs, for `host_call`'s one: an NVIDIA GPU computes in between.

    Elsewhere the host is called in the second. Arguments as in `host_call`.

    Returns:
      begin: `x -> begun`, `[*batch, inputs] -> [*batch, 1]`. The numbers of `begun` mean nothing. Where something is
        added to it, the second function waits until that has been computed.
      finish: `(x, begun) -> [*batch, size]`.
    """
    whole, name = host_call(function, name, size), _register_once(register_in_two, function, f"{name}.in_two")

    def begin(x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch 1"]:
        later = lambda x: jnp.zeros((*x.shape[:-1], 1))  # noqa: E731
        now = lambda x: _ffi_call(f"{name}.begin", x, 1)(x)  # noqa: E731
        return jax.lax.platform_dependent(x.astype(jnp.float32), cuda=now, default=later)

    def finish(x: Float[Array, "*batch inputs"], begun: Float[Array, "*batch 1"]) -> Float[Array, "*batch size"]:
        later = lambda x, begun: _ffi_call(f"{name}.finish", begun, size)(begun)  # noqa: E731
        return jax.lax.platform_dependent(x, begun, cuda=later, default=lambda x, begun: whole(x))

    return begin, finish


def _ffi_call(name: str, x: Float[Array, "*batch inputs"], size: int) -> Callable[[Array], Array]:
    result = jax.ShapeDtypeStruct((*x.shape[:-1], size), jnp.float32)
    return jax.ffi.ffi_call(name, result, vmap_method="expand_dims")


def _register_once(register: Callable, function: Function, name: str) -> str:
    """Registers a function if there is none of its name, and returns the name that XLA knows."""
    name = f"xinet_jax.{name}"
    with _registering:
        if name not in _registered:
            _registered[name] = register(function, name, _interrupts.append)
    return name
