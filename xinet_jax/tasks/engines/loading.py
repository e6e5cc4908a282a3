"""Loads models without MuJoCo's remarks about their XML."""

import contextlib
import warnings
from collections.abc import Iterator

import mujoco


@contextlib.contextmanager
def quiet_deprecations() -> Iterator[None]:
    """Silences deprecation notes while models load; other warnings become Python's.

    Gymnasium's XML files use an attribute that MuJoCo 4 calls deprecated. Its default is to say so at every load, on
    standard error and in a file MUJOCO_LOG.TXT in the user's folder.
    """
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(_pass_on)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(previous)


def _pass_on(message: str) -> None:
    if "deprecated" not in message:
        warnings.warn(message, stacklevel=2)
