"""What is private to MJX: fields of its data that depend on the implementation, and a function of quaternions."""

import contextlib
import io
from collections.abc import Iterable

from jaxtyping import Array

with contextlib.redirect_stdout(io.StringIO()):  # it prints that its optional back end, Warp, is not installed
    from mujoco import mjx

from mujoco.mjx._src.math import quat_integrate

__all__ = ["fields_of", "mjx", "quat_integrate", "with_external_forces"]


def fields_of(data: mjx.Data, names: Iterable[str]) -> dict[str, Array]:
    """Returns fields of MuJoCo's data by name. Those that an implementation keeps for itself are not attributes."""
    return {name: getattr(data, name) if hasattr(data, name) else getattr(data._impl, name) for name in names}


def with_external_forces(model: mjx.Model) -> mjx.Model:
    """Returns a model for MJX's Warp implementation that computes `cfrc_ext`, which it leaves out by default."""
    return model.tree_replace({"opt._impl.run_rne_postconstraint": True})
