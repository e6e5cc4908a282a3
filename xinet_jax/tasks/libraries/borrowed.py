"""Tasks of other libraries, whose environments are pure functions too: `reset(key) -> state`, `step(state, action)`."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float

from xinet_jax.errors import UserError
from xinet_jax.tasks.engines.physics import Engine
from xinet_jax.tasks.task import Definition, Task


class Borrowed(NamedTuple):
    """The state of another library's episode.

    Attributes:
      state: the library's own, with `obs`, `reward`, `done` and whatever else it needs.
      qpos, qvel: positions and velocities as MuJoCo orders them.
      mocap_pos: where bodies are that something else than physics moves, such as targets, `[nmocap, 3]`.
    """

    state: Any
    qpos: Float[Array, "*batch nq"]
    qvel: Float[Array, "*batch nv"]
    mocap_pos: Float[Array, "*batch nmocap 3"]


def borrow(
    name: str,
    environment: Any,
    model: mujoco.MjModel,
    motion: Callable[[Any], tuple[Array, Array, Array]],
    episode_length: int,
    options: Mapping[str, Any],
) -> Task:
    """Returns a task around another library's environment.

    Args:
      name: the task's registered name.
      environment: has `reset`, `step`, `dt` and `action_size`; takes actions in [-1, 1]; ends no episode by time.
      model: the MuJoCo model that it is about.
      motion: from the library's state to `qpos`, `qvel` and `mocap_pos`.
      episode_length: control steps after which an episode is cut off.
      options: what was chosen.

    Raises:
      UserError: if it observes more than one array, such as pictures.
    """

    def wrap(state: Any) -> Borrowed:
        # Numbers written in Python have a weaker type than those that a step gives; the two must be one.
        state = jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), state)
        return Borrowed(state, *motion(state))

    definition = Definition(
        frame_skip=1,
        reset=lambda key, at_rest: wrap(environment.reset(key)),
        observe=lambda physics: physics.state.obs,
        reward_terms=lambda before, control, after, dt: {"reward": after.state.reward},
        terminated=lambda physics: physics.state.done > 0.5,
        episode_length=episode_length,
    )
    observation = jax.eval_shape(environment.reset, jax.random.PRNGKey(0)).obs
    if len(getattr(observation, "shape", ())) != 1:
        raise UserError(f"{name} observes more than one array of numbers, which is not supported")
    return Task(
        name=name,
        options=dict(options),
        model=model,
        definition=definition,
        engine=Engine(lambda physics, control: wrap(environment.step(physics.state, control)), lambda physics: physics),
        at_rest=None,
        dt=float(environment.dt),
        observation_size=observation.shape[0],
        action_size=environment.action_size,
        predicted_size=observation.shape[0],
        control_scale=np.ones(environment.action_size, np.float32),
        control_offset=np.zeros(environment.action_size, np.float32),
    )
