"""Environments on the host that are stepped together, and keep a state of their own that no program can restore."""

import contextlib
import os
import sys
import threading
import time
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from xinet_jax.cores import available_cores
from xinet_jax.tasks.engines.physics import Failure
from xinet_jax.tasks.libraries.environments import as_arrays, failed, in_worker

MODES = ("sync", "async")  # how they run: one after the other, or each in a process
TURNS = 2**20  # numbers of turns start again after so many: a float32 holds them exactly
_WORTH_A_PROCESS = 3e-4  # a step that takes longer is worth a process for each environment [s]
_ENVIRONMENTS_PER_CORE = 4  # at most, where each has a process


class Steps(NamedTuple):
    """What a step of all environments led to.

    Attributes:
      observation: the observations after the step, before any reset, `[envs, observation]`.
      reward: `[envs]`.
      terminated, truncated: whether the episode ended for good, or was cut off, `[envs]`.
      start: where an episode ended, the first observation of the next, `[envs, observation]`.
    """

    observation: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    start: np.ndarray


class Vector:
    """Some environments of one kind. Where an episode ends, or anything is not finite, the next begins at once.

    Args:
      name: their name in Gymnasium's registry.
      options: what they are made with; `vectorization_mode` is `sync` (one after the other) or `async` (a process
        each); without it, whichever is faster by the time of a step.
      seeds: of their first episodes.
      step_seconds: how long a step of one takes [s].
    """

    def __init__(self, name: str, options: dict[str, Any], seeds: list[int], step_seconds: float) -> None:
        options = dict(options)
        mode = options.pop("vectorization_mode", None) or _mode(len(seeds), step_seconds)
        arguments: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED}
        wrappers = [as_arrays]
        if mode == "async":
            arguments |= {"context": "spawn"}  # JAX has threads, which a fork would not
            wrappers.insert(0, in_worker)
            gymnasium.logger.min_level = gymnasium.logger.ERROR + 1  # it would print what a worker raises
        self._environments = gymnasium.make_vec(
            name,
            num_envs=len(seeds),
            vectorization_mode=mode,
            vector_kwargs=arguments,
            wrappers=wrappers,
            disable_env_checker=True,
            **options,
        )
        space = self._environments.single_action_space
        self._middle, self._dtype = (space.low + space.high) / 2, space.dtype
        self._seeds = seeds
        self._turn, self._steps = 0, None
        self._observation = np.zeros((len(seeds), *self._environments.single_observation_space.shape), np.float32)

    def reset(self) -> np.ndarray:
        """Begins new episodes by the seeds, and returns their first observations, `[envs, observation]`."""
        self._turn, self._steps = 0, None
        self._observation = _float32(self._environments.reset(seed=self._seeds)[0])
        return self._observation

    def step(self, turn: int, actions: np.ndarray) -> Steps:
        """Returns what a step leads to. A turn that is asked for again gives the same.

        Args:
          turn: the number of the step, from 0, modulo `TURNS`.
          actions: `[envs, action]`. Where one is not finite, another is taken in its place, and the episode ends.

        Raises:
          RuntimeError: if the turn is not the next.
        """
        if self._steps is not None and turn == (self._turn - 1) % TURNS:
            return self._steps
        if turn != self._turn:
            raise RuntimeError(f"environments were asked for step {turn} after {self._turn - 1}")
        finite = np.isfinite(actions).all(axis=1)
        actions = np.where(finite[:, None], actions, self._middle).astype(self._dtype)
        observation, reward, terminated, truncated, _ = self._environments.step(actions)
        observation, reward = _float32(observation), _float32(reward)
        finite &= np.isfinite(self._observation).all(axis=1) & np.isfinite(observation).all(axis=1)
        finite &= np.isfinite(reward)
        ended = terminated | truncated | ~finite
        start = np.zeros_like(observation)
        if ended.any():
            start[ended] = _float32(self._environments.reset(options={"reset_mask": ended})[0])[ended]
        self._observation = np.where(ended[:, None], start, observation)
        self._turn, self._steps = (turn + 1) % TURNS, Steps(observation, reward, terminated, truncated, start)
        return self._steps

    def close(self, failed: bool = False) -> None:
        """Ends what they run in. `failed`: an exception came in between, so that they may not answer any more."""
        with contextlib.suppress(Exception):
            if not failed:
                self._environments.close()
        for process in getattr(self._environments, "processes", ()):
            process.kill()
        self._environments.closed = True


class Vectors:
    """The vectors of one task in this process, by number. An exception in one is kept, and ends no program.

    Args:
      name, options: see `Vector`.
      observation_size: of one environment.

    Attributes:
      step_seconds: how long a step of one takes [s].
      failure: the first exception.
    """

    def __init__(self, name: str, options: dict[str, Any], observation_size: int, step_seconds: float) -> None:
        self._name, self._options, self._size = name, options, observation_size
        self.step_seconds = step_seconds
        self.failure: Failure | None = None
        self._vectors: dict[int, Vector] = {}
        self._numbers: dict[tuple[int, ...], int] = {}  # by device and seeds
        self._making = threading.Lock()

    def reset(self, seeds: np.ndarray) -> np.ndarray:
        """Begins episodes, one for each seed. The environments of seeds that were asked for before begin again.

        Args:
          seeds: the number of the device that asks, and the seed, `[*batch, 2]`.

        Returns:
          The vector's number, the environment's place in it, and its first observation, `[*batch, 2 + observation]`.
        """
        devices, numbers = seeds.reshape(-1, 2).astype(int).T
        rows = np.full((len(numbers), 2 + self._size), np.nan, np.float32)
        order = (int(devices[0]), *numbers.tolist())
        try:
            with self._making:
                if order not in self._numbers:
                    vector = Vector(self._name, self._options, numbers.tolist(), self.step_seconds)
                    self._vectors[len(self._numbers)] = vector
                    self._numbers[order] = len(self._numbers)
                number = self._numbers[order]
            rows[:, 0], rows[:, 1], rows[:, 2:] = number, np.arange(len(numbers)), self._vectors[number].reset()
        except Exception as error:
            self._fail(error)
        return rows.reshape(*seeds.shape[:-1], -1)

    def step(self, packed: np.ndarray) -> np.ndarray:
        """Steps all environments of a vector.

        Args:
          packed: the vector's number, the environment's place, the turn and the action, `[*batch, 3 + action]`.

        Returns:
          Observation, reward, terminated, truncated and start of `Steps`, `[*batch, 2 observation + 3]`; NaN after an
          exception.
        """
        given = packed.reshape(-1, packed.shape[-1])
        rows = np.full((len(given), 2 * self._size + 3), np.nan, np.float32)
        if self.failure is None:
            try:
                number, turn = given[0, 0], given[:, 2].max()  # an evaluation leaves behind what has ended
                if not ((given[:, 0] == number) & (given[:, 1] == np.arange(len(given)))).all():
                    raise RuntimeError("environments of several vectors in one call, or not in their order")
                steps = self._vectors[int(number)].step(int(turn), given[:, 3:])
                ends = np.stack([steps.reward, steps.terminated, steps.truncated], axis=1)
                rows[:] = np.concatenate([steps.observation, ends, steps.start], axis=1)
            except Exception as error:
                self._fail(error)
        return rows.reshape(*packed.shape[:-1], -1)

    def close(self) -> None:
        """Ends all of them."""
        self._numbers.clear()
        while self._vectors:
            self._vectors.popitem()[1].close(failed=self.failure is not None)

    def _fail(self, error: Exception) -> None:
        self.failure = self.failure or Failure(*failed(error).args)


def measure_step(environment: gymnasium.Env, steps: int = 10) -> float:
    """Returns how long a step of an environment takes, after a first [s].

    Raises:
      Exception: whatever the environment raises.
    """
    environment.reset(seed=0)
    space = environment.action_space
    action, seconds = ((space.low + space.high) / 2).astype(space.dtype), []
    for _ in range(1 + steps):
        before = time.perf_counter()
        _, _, terminated, truncated, _ = environment.step(action)
        seconds.append(time.perf_counter() - before)
        if terminated or truncated:
            environment.reset()
    return float(np.median(seconds[1:]))


def _mode(count: int, step_seconds: float) -> str:
    """Returns what is faster, and safe: processes import the main module."""
    if not _is_command_line():
        return "sync"
    cores = available_cores()
    few = 1 < count <= _ENVIRONMENTS_PER_CORE * cores
    return "async" if few and cores > 1 and step_seconds > _WORTH_A_PROCESS else "sync"


def _is_command_line() -> bool:
    """Returns whether this is the command `xinet`, whose main module does nothing when it is imported."""
    main = sys.modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None) or ""
    return bool(spec and spec.name.startswith("xinet_jax.")) or os.path.basename(file) == "xinet"


def _float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(np.float32)
