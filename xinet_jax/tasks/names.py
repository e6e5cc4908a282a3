"""Names that options of tasks and engines take."""

import typing
from typing import Literal

from xinet_jax.errors import UserError, unknown_name

ENGINES = ("auto", "mjx", "native", "brax", "gymnasium")  # the last two for tasks of other libraries
MJX_IMPLEMENTATIONS = ("jax", "warp")
PHYSICS = ("exact", "fast")
BraxBackend = Literal["generalized", "positional", "spring", "mjx"]
BRAX_BACKENDS: tuple[str, ...] = typing.get_args(BraxBackend)


def check_implementation(engine: str, mjx_impl: str) -> None:
    """Raises UserError for an unknown implementation of MJX, or for Warp on an engine other than `mjx` or `auto`."""
    if mjx_impl not in MJX_IMPLEMENTATIONS:
        raise unknown_name("mjx_impl", mjx_impl, MJX_IMPLEMENTATIONS)
    if mjx_impl == "warp" and engine not in ("auto", "mjx"):
        raise UserError(f"mjx_impl warp is for engine mjx, not for {engine}")
