"""Gymnasium's registered environments, with observations and actions as arrays of numbers.

Workers of a vector environment import this module: nothing here loads JAX.
"""

import contextlib
import math
import signal
import traceback
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import DependencyNotInstalled, NameNotFound, NamespaceNotFound, UnregisteredEnv, VersionNotFound
from gymnasium.wrappers import FlattenObservation, TransformAction

from xinet_jax.errors import UserError, brief, first_line, unknown_name
from xinet_jax.tasks.catalogue import REGISTERED_PREFIX as PREFIX
from xinet_jax.tasks.options import options_text

_UNKNOWN = (NameNotFound, NamespaceNotFound, UnregisteredEnv, VersionNotFound)
_MOST_NUMBERS = 100_000  # of an observation


class EnvironmentFailed(Exception):
    """An exception inside an environment.

    Args:
      summary: the exception, in one line.
      trace: its traceback.
    """

    def __init__(self, summary: "str | EnvironmentFailed", trace: str = "") -> None:
        if isinstance(summary, EnvironmentFailed):  # Gymnasium calls a worker's exception's type with the exception
            summary, trace = summary.args
        super().__init__(summary, trace)


def failed(error: Exception) -> EnvironmentFailed:
    """Returns an exception that is being handled as one inside an environment."""
    if isinstance(error, EnvironmentFailed):
        return error
    return EnvironmentFailed(f"{type(error).__name__}: {first_line(error)}", traceback.format_exc())


class Unsupported(Exception):
    """An environment's spaces are not supported: why, in one line."""


class _Guarded(gymnasium.Wrapper):
    """An environment whose exceptions can cross to another process with their traceback."""

    def step(self, action: Any) -> Any:
        with self._reported():
            return self.env.step(action)

    def reset(self, **arguments: Any) -> Any:
        with self._reported():
            return self.env.reset(**arguments)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise failed(error) from None


def as_arrays(environment: gymnasium.Env) -> gymnasium.Env:
    """Returns an environment with one axis of numbers as observation, and one as action.

    Raises:
      Unsupported: if its spaces are not.
    """
    _check_space("observations", environment.observation_space, (np.floating, np.integer))
    _check_space("actions", environment.action_space, (np.floating,))
    environment = _Guarded(environment)
    if _is_nested(environment.observation_space):
        environment = FlattenObservation(environment)
    nested = environment.action_space
    flat = spaces.flatten_space(nested) if _is_nested(nested) else nested
    low, high = flat.low, flat.high
    if not (np.isfinite(low) & np.isfinite(high) & (low < high)).all():
        raise Unsupported("actions must have finite bounds, the lower below the upper")
    if environment.observation_space.shape[0] > _MOST_NUMBERS:
        raise Unsupported(f"observations must have at most {_MOST_NUMBERS:,} numbers")

    def within_bounds(action: np.ndarray) -> Any:
        action = np.clip(action, low, high).astype(flat.dtype)
        return action if flat is nested else spaces.unflatten(nested, action)

    return TransformAction(environment, within_bounds, flat)


def in_worker(environment: gymnasium.Env) -> gymnasium.Env:
    """Returns an environment of a worker process, which leaves signals to the process that trains.

    It ends when that closes its pipe.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return environment


def make_environment(name: str, options: dict[str, Any], render_mode: str | None = None) -> gymnasium.Env:
    """Returns a registered environment, with observations and actions as arrays of numbers.

    Args:
      name: its name in Gymnasium's registry.
      options: what it is made with; how several run together is left out.
      render_mode: how it is drawn; None: it is not.

    Raises:
      UserError: if it cannot be made, or is not supported.
    """
    drawn = {} if render_mode is None else {"render_mode": render_mode}
    with in_one_line(name, options):
        environment = as_arrays(gymnasium.make(name, disable_env_checker=True, **drawn, **_of_one(options)))
    if environment.spec.max_episode_steps is None:
        raise UserError(f"{PREFIX}{name} has no time limit: choose one, such as --task-options max_episode_steps=1000")
    return environment


@contextlib.contextmanager
def in_one_line(name: str, options: dict[str, Any]) -> Iterator[None]:
    """Raises UserError for whatever an environment raises while it is made."""
    try:
        yield
    except _UNKNOWN:
        raise unknown_name("environment of Gymnasium", name, sorted(gymnasium.registry)) from None
    except UserError:
        raise
    except Unsupported as error:
        raise UserError(f"{PREFIX}{name} is not supported: {error}") from None
    except DependencyNotInstalled as error:
        raise UserError(f"{PREFIX}{name} needs a package: {first_line(error)}") from None
    except ModuleNotFoundError as error:
        package = brief(error.name or first_line(error))
        raise UserError(f"{PREFIX}{name} needs the package of module {package}: pip install {package}") from None
    except EnvironmentFailed as error:
        raise UserError(f"{PREFIX}{name} cannot run{_with(options)}: {brief(error.args[0])}") from None
    except Exception as error:  # each environment checks its options in its own way
        reason = f"{type(error).__name__}: {first_line(error)}".partition(" was raised from the environment creator")[0]
        raise UserError(f"Gymnasium cannot make {name}{_with(options)}: {reason}") from None


def seconds_per_step(environment: gymnasium.Env) -> float:
    """Returns how long a step is shown when the environment is filmed [s]."""
    frames = environment.metadata.get("render_fps")
    return 1.0 / frames if frames and math.isfinite(frames) else 0.02


def _of_one(options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options that are about a single environment."""
    return {name: value for name, value in options.items() if name != "vectorization_mode"}


def _with(options: dict[str, Any]) -> str:
    options = _of_one(options)
    return f" with task options {options_text(options)}" if options else ""


def _is_nested(space: spaces.Space) -> bool:
    return not isinstance(space, spaces.Box) or len(space.shape) != 1


def _check_space(what: str, space: spaces.Space, kinds: tuple[type, ...]) -> None:
    """Refuses a space that is no box of numbers, and no dictionary or tuple of such."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        for part in parts:
            _check_space(what, part, kinds)
        return
    picture = isinstance(space, spaces.Box) and len(space.shape) > 2
    if picture or not isinstance(space, spaces.Box) or not issubclass(space.dtype.type, kinds):
        allowed = "continuous numbers (Box)" if kinds == (np.floating,) else "numbers (Box)"
        raise Unsupported(f"{what} must be {allowed} or dictionaries of them, not {brief(str(space))}")
