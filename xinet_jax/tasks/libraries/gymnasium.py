"""Any environment that is registered with Gymnasium, stepped on the host: `gymnasium/Pendulum-v1` and the others.

Towers et al. 2024, Gymnasium: a standard interface for reinforcement learning environments, arXiv 2407.17032.
"""

import contextlib
import hashlib
import json
import multiprocessing
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from xinet_jax.errors import UserError, unknown_name
from xinet_jax.tasks.catalogue import REGISTERED_PREFIX
from xinet_jax.tasks.engines.host_call import host_call, host_call_in_two
from xinet_jax.tasks.engines.physics import Engine
from xinet_jax.tasks.engines.vector import MODES, TURNS, Vectors, measure_step
from xinet_jax.tasks.libraries.environments import in_one_line, make_environment, seconds_per_step
from xinet_jax.tasks.options import as_json
from xinet_jax.tasks.task import Definition, Task
from xinet_jax.types import DEVICE_AXIS, Key

_LONGEST = 2**20  # steps of an episode
_SEEDS = 2**24  # whole numbers that float32 holds exactly


class Hosted(NamedTuple):
    """What a program knows of an environment on the host.

    Attributes:
      vector, place: which environment it is: the number of its vector and its place there.
      turn: steps that it has taken, modulo `TURNS`.
      observation, reward: what the newest step gave.
      terminated, truncated: 1.0 where it ended the episode for good, or cut it off.
      start: where it ended the episode, the first observation of the next.
      qpos, qvel: empty.
    """

    vector: Float[Array, "*batch"]
    place: Float[Array, "*batch"]
    turn: Float[Array, "*batch"]
    observation: Float[Array, "*batch observation"]
    reward: Float[Array, "*batch"]
    terminated: Float[Array, "*batch"]
    truncated: Float[Array, "*batch"]
    start: Float[Array, "*batch observation"]
    qpos: Float[Array, "*batch 0"]
    qvel: Float[Array, "*batch 0"]


# The newest by what they are of: compiled programs find them by that, and may be called again by a later run.
_vectors: dict[str, Vectors] = {}


def make(name: str, **options: Any) -> Task:
    """Returns an environment by its name in Gymnasium's registry.

    Args:
      name: its name.
      **options: what it is made with (`gymnasium.make`), and `vectorization_mode`: see `Vector`.

    Raises:
      UserError: if it cannot be made or stepped, or its spaces are not supported.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UserError("a script whose environments run in processes must train under: if __name__ == '__main__'")
    mode = options.get("vectorization_mode", MODES[0])
    if mode not in MODES:
        raise unknown_name("task option vectorization_mode", mode, MODES)
    with in_one_line(name, options), contextlib.closing(make_environment(name, options)) as environment:
        step_seconds = measure_step(environment)
        size, space = environment.observation_space.shape[0], environment.action_space
        episode_length, dt = environment.spec.max_episode_steps, seconds_per_step(environment)
    if not 1 <= episode_length <= _LONGEST:
        raise UserError(f"max_episode_steps must be from 1 to {_LONGEST}, not {episode_length}")
    about = json.dumps([name, as_json(options), size, space.shape[0]], sort_keys=True, allow_nan=False)
    about = hashlib.sha256(about.encode()).hexdigest()[:16]
    if about in _vectors:
        _vectors[about].close()
    vectors = _vectors[about] = Vectors(name, options, size, step_seconds)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    definition = Definition(
        frame_skip=1,
        reset=_reset_by(host_call(lambda seeds: _vectors[about].reset(seeds), f"reset_{about}", 2 + size), size),
        observe=lambda physics: physics.observation,
        reward_terms=lambda before, control, after, dt: {"reward": after.reward},
        terminated=lambda physics: physics.terminated > 0.5,
        truncated=lambda physics: physics.truncated > 0.5,
        episode_length=episode_length,
    )
    return Task(
        name=f"{REGISTERED_PREFIX}{name}",
        options=options,
        model=None,
        definition=definition,
        engine=_engine(vectors, about, size),
        at_rest=None,
        dt=dt,
        observation_size=size,
        action_size=space.shape[0],
        predicted_size=size,
        control_scale=((high - low) / 2).astype(np.float32),
        control_offset=((high + low) / 2).astype(np.float32),
    )


def _reset_by(call: Any, size: int) -> Any:
    """Returns the function that makes an environment on the host and begins its first episode."""

    def reset(key: Key, at_rest: None) -> Hosted:
        seed = jax.random.randint(key, (), 0, _SEEDS)
        row = call(jnp.stack([jnp.asarray(_device(), jnp.float32), seed.astype(jnp.float32)]))
        zero, none = jnp.zeros(()), jnp.zeros(0)
        return Hosted(row[0], row[1], zero, row[2:], zero, zero, zero, jnp.zeros(size), none, none)

    return reset


def _device() -> Int[Array, ""] | int:
    """Returns the number of the device that a program runs on. Members of equal seeds on two have two environments."""
    try:
        return jax.lax.axis_index(DEVICE_AXIS)
    except NameError:  # not a program for several devices
        return 0


def _engine(vectors: Vectors, about: str, size: int) -> Engine:
    """Returns the engine that steps environments on the host, one call for all of a device."""
    call = (lambda packed: _vectors[about].step(packed), f"step_{about}", 2 * size + 3)
    simulate, (begin_simulation, finish_simulation) = host_call(*call), host_call_in_two(*call)

    def pack(state: Hosted, control: Float[Array, " action"]) -> Float[Array, " inputs"]:
        return jnp.concatenate([jnp.stack([state.vector, state.place, state.turn]), control])

    def unpack(state: Hosted, row: Float[Array, " outputs"]) -> Hosted:
        return state._replace(
            turn=(state.turn + 1) % TURNS,
            observation=row[:size],
            reward=row[size],
            terminated=row[size + 1],
            truncated=row[size + 2],
            start=row[size + 3 :],
        )

    def begin(state: Hosted, control: Float[Array, " action"]) -> Float[Array, "1"]:
        return begin_simulation(pack(state, control))

    def finish(state: Hosted, control: Float[Array, " action"], begun: Float[Array, "1"]) -> Hosted:
        return unpack(state, finish_simulation(pack(state, control), begun))

    return Engine(
        step=lambda state, control: unpack(state, simulate(pack(state, control))),
        forward=lambda state: state,
        cheap_start=True,
        begin=begin,
        finish=finish,
        restart=lambda state: state._replace(observation=state.start),
        host=vectors,
    )
