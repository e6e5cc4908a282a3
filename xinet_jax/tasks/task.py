"""A task: what is controlled, what is rewarded, when it ends. Written once in JAX, over any engine."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from xinet_jax.errors import UserError
from xinet_jax.tasks.engines.batching import as_one_batch
from xinet_jax.tasks.engines.physics import Engine, PhysicalState, Physics, make_engine
from xinet_jax.types import Key, all_finite


class Definition(NamedTuple):
    """A task as pure functions of physical states.

    Attributes:
      frame_skip: simulation steps per control step.
      reset: `(key, at_rest) -> physics`, the state an episode starts in, from the model's state at rest; positions and
        velocities alone.
      observe: `physics -> [observation]`.
      reward_terms: `(before, control, after, dt) -> {name: reward}`; the reward is their sum; `control` as the model
        takes it, `[nu]`, `dt` in seconds.
      terminated: `physics -> bool`, true where the episode ends for good.
      derived: what these functions read of `Physics.derived`.
      truncated: `physics -> bool`, true where the episode is cut off before its length; None: it never is.
      unpredicted: how many trailing dimensions of the observation OFENet need not predict: contact forces.
      episode_length: control steps after which an episode is cut off (truncation).
    """

    frame_skip: int
    reset: Callable[[Key, Physics], Physics]
    observe: Callable[[Physics], Array]
    reward_terms: Callable[[Physics, Array, Physics, float], dict[str, Array]]
    terminated: Callable[[Physics], Array]
    derived: tuple[str, ...] = ()
    truncated: Callable[[Physics], Array] | None = None
    unpredicted: int = 0
    episode_length: int = 1000


class TaskState(NamedTuple):
    """A running episode.

    Attributes:
      physics: the physical state.
      observation: what the agent sees of it, `[observation_size]`.
      elapsed: control steps since the episode began.
      episode_return: undiscounted sum of rewards since then.
    """

    physics: PhysicalState
    observation: Float[Array, "*batch observation"]
    elapsed: Int[Array, "*batch"]
    episode_return: Float[Array, "*batch"]


class Outcome(NamedTuple):
    """What one control step led to.

    Attributes:
      observation: the observation after the step, before any reset, `[observation_size]`.
      reward: sum of the reward terms.
      terminated: the episode ended for good: no return is to be expected after it.
      truncated: the episode was cut off by the time limit: the state's value goes on.
      finite: whether action, positions, velocities, observation and reward are; an episode in which they are not ends,
        and its return is NaN.
      episode_return: undiscounted return of the episode so far, this step included.
      reward_terms: the reward's parts by Gymnasium's names.
    """

    observation: Float[Array, "*batch observation"]
    reward: Float[Array, "*batch"]
    terminated: Bool[Array, "*batch"]
    truncated: Bool[Array, "*batch"]
    finite: Bool[Array, "*batch"]
    episode_return: Float[Array, "*batch"]
    reward_terms: dict[str, Float[Array, "*batch"]]

    @property
    def ended(self) -> Bool[Array, "*batch"]:
        """Whether the episode is over, for whichever reason."""
        return self.terminated | self.truncated | ~self.finite


class Task(NamedTuple):
    """A definition bound to an engine.

    Attributes:
      name: the registered name.
      options: what of its definition was chosen, by name.
      model: the MuJoCo model that it is about; None if it is about none.
      definition: the task's own functions.
      engine: advances the physics.
      at_rest: the model's reference state; None for another library's task.
      dt: seconds per control step.
      observation_size, action_size: lengths of observation and action; actions lie in [-1, 1].
      predicted_size: leading dimensions of the observation that OFENet learns to predict.
      control_scale, control_offset: from actions to what the model's actuators take, `offset + scale * action`, `[nu]`.
    """

    name: str
    options: dict[str, Any]
    model: mujoco.MjModel | None
    definition: Definition
    engine: Engine
    at_rest: Physics | None
    dt: float
    observation_size: int
    action_size: int
    predicted_size: int
    control_scale: np.ndarray
    control_offset: np.ndarray


def make_task(
    name: str,
    definition: Definition,
    model: mujoco.MjModel,
    engine: str = "auto",
    mjx_impl: str = "jax",
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Task:
    """Binds a definition, made with some options, to a model and an engine (`auto`, `mjx` or `native`).

    `mjx_impl` is `jax` or `warp` (`xinet_jax.tasks.engines.physics.make_engine`).

    Raises:
      UserError: if the model has an actuator without limits, or what no engine here carries from step to step
        (activations of actuators, mocap bodies), or there is no such engine.
    """
    if model.na or model.nmocap:
        what = "actuators with activations" if model.na else "mocap bodies"
        raise UserError(f"{name}: models with {what} are not supported, since they have a state of their own")
    low, high = model.actuator_ctrlrange.T.astype(np.float32)
    if not model.actuator_ctrllimited.all() or (low >= high).any():
        raise UserError(f"{name}: every actuator of the model needs a ctrlrange, since actions lie in [-1, 1]")
    bound = make_engine(engine, model, definition.frame_skip, definition.derived, mjx_impl)
    at_rest = Physics(jnp.asarray(model.qpos0, jnp.float32), jnp.zeros(model.nv, jnp.float32))
    (observation_size,) = jax.eval_shape(lambda: definition.observe(bound.forward(at_rest))).shape
    return Task(
        name=name,
        options=dict(options),
        model=model,
        definition=definition,
        engine=bound,
        at_rest=at_rest,
        dt=model.opt.timestep * definition.frame_skip,
        observation_size=observation_size,
        action_size=model.nu,
        predicted_size=observation_size - definition.unpredicted,
        control_scale=(high - low) / 2,
        control_offset=(high + low) / 2,
    )


def to_control(task: Task, action: Float[ArrayLike, "*batch action"]) -> Float[ArrayLike, "*batch nu"]:
    """Returns what the model's actuators take for actions in [-1, 1]."""
    return task.control_offset + task.control_scale * action


def to_action(task: Task, control: Float[ArrayLike, "*batch nu"]) -> Float[ArrayLike, "*batch action"]:
    """Returns the actions in [-1, 1] for what the model's actuators take."""
    return (control - task.control_offset) / task.control_scale


def reset(task: Task, key: Key) -> TaskState:
    """Returns a new episode."""
    return _begin(task, task.engine.forward(task.definition.reset(key, task.at_rest)))


def _next_episode(task: Task, state: TaskState, key: Key) -> TaskState:
    """Returns the episode after one that has ended."""
    if task.engine.restart is None:
        return reset(task, key)
    return _begin(task, task.engine.restart(state.physics))


def _begin(task: Task, physics: Any) -> TaskState:
    """Returns an episode that begins in a physical state."""
    return TaskState(physics, task.definition.observe(physics), jnp.int32(0), jnp.float32(0.0))


def begin_step(task: Task, state: TaskState, action: Float[Array, " action"]) -> Float[Array, "1"]:
    """Asks for a step's physics. Where the host computes it, the device goes on until the step itself is taken.

    Returns:
      What `step` and `step_and_reset` take as `begun`. Its numbers mean nothing. Where something is added to it, the
      step waits until that has been computed.
    """
    return task.engine.begin(state.physics, _finite_control(task, action))


def step(
    task: Task, state: TaskState, action: Float[Array, " action"], begun: Float[Array, "1"] | None = None
) -> tuple[TaskState, Outcome]:
    """Takes one control step, without any reset.

    Args:
      task: the task.
      state: a running episode.
      action: in [-1, 1], `[action_size]`.
      begun: from `begin_step` of the same state and action.

    Returns:
      The state after the step, even if the episode ended with it, and the step's outcome.
    """
    definition, engine = task.definition, task.engine
    arguments = (state.physics, _finite_control(task, action))
    with_begun = begun is not None and engine.finish is not None
    physics = engine.finish(*arguments, begun) if with_begun else engine.step(*arguments)
    terms = definition.reward_terms(state.physics, to_control(task, action), physics, task.dt)
    reward = sum(terms.values(), start=jnp.float32(0.0))
    observation = definition.observe(physics)
    before = () if engine.host is None else (state.observation,)  # others begin episodes with what is finite
    finite = all_finite((physics.qpos, physics.qvel, observation, reward, action, *before))
    episode_return = jnp.where(finite, state.episode_return + reward, jnp.nan)
    after = TaskState(physics, observation, state.elapsed + 1, episode_return)
    truncated = after.elapsed >= definition.episode_length
    if definition.truncated is not None:
        truncated |= definition.truncated(physics)
    outcome = Outcome(
        observation=after.observation,
        reward=reward,
        terminated=definition.terminated(physics),
        truncated=truncated,
        finite=finite,
        episode_return=after.episode_return,
        reward_terms=terms,
    )
    return after, outcome


def _finite_control(task: Task, action: Float[Array, " action"]) -> Float[Array, " nu"]:
    """MuJoCo would replace, and write to a log, an action that is not finite. The reward shows what it was.

    Environments on the host have to see it: their episode ends.
    """
    control = to_control(task, action)
    if task.engine.host is not None:
        return control
    return jnp.where(jnp.isfinite(control), control, 0.0)


def step_and_reset(
    task: Task, state: TaskState, action: Float[Array, " action"], key: Key, begun: Float[Array, "1"] | None = None
) -> tuple[TaskState, Outcome]:
    """Takes one control step and, if it ended the episode, starts the next. The outcome is from before the reset."""
    after, outcome = step(task, state, action, begun)

    def restart(ended: Bool[Array, " batch"], keys: Array, states: TaskState) -> TaskState:
        def start() -> TaskState:
            fresh = jax.vmap(partial(_next_episode, task))(states, keys)
            return jax.vmap(lambda end, new, old: jax.tree.map(partial(jnp.where, end), new, old))(ended, fresh, states)

        def start_if_any() -> TaskState:
            return jax.lax.cond(ended.any(), start, lambda: states)

        # A start can cost as much as hundreds of steps: none is computed where no episode of the whole batch ends. On
        # accelerators, the host would have to read whether one does: dearer than a start without physics.
        light = start if task.engine.cheap_start else start_if_any
        return jax.lax.platform_dependent(cpu=start_if_any, default=light)

    return as_one_batch(restart)(outcome.ended, key, after), outcome
