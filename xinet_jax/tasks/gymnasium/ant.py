"""Ant-v5: walk forwards on four legs without turning over."""

import functools

import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Bool, Float

from xinet_jax.errors import unknown_name
from xinet_jax.tasks.engines.physics import Physics
from xinet_jax.tasks.gymnasium import locomotion
from xinet_jax.tasks.gymnasium.locomotion import Range
from xinet_jax.tasks.task import Definition


def ant(
    model: mujoco.MjModel,
    forward_reward_weight: float = 1.0,
    ctrl_cost_weight: float = 0.5,
    contact_cost_weight: float = 5e-4,
    healthy_reward: float = 1.0,
    main_body: int | str = 1,
    terminate_when_unhealthy: bool = True,
    healthy_z_range: Range = (0.2, 1.0),
    contact_force_range: Range = (-1.0, 1.0),
    reset_noise_scale: float = 0.1,
    exclude_current_positions_from_observation: bool = True,
    include_cfrc_ext_in_observation: bool = True,
) -> Definition:
    """Returns the task, with Gymnasium's options. OFENet need not predict contact forces.

    Raises:
      UserError: if the model has no such body.
    """
    try:
        body = model.body(main_body).id
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):  # of numbers, by how far off they are
        names = filter(None, (model.body(number).name for number in range(model.nbody)))
        raise unknown_name("main_body", main_body, names) from None
    leading = 2 * int(exclude_current_positions_from_observation)

    def contact_forces(physics: Physics) -> Float[Array, "bodies 6"]:
        return jnp.clip(physics.derived["cfrc_ext"], *contact_force_range)

    def observe(physics: Physics) -> Float[Array, " observation"]:
        state = locomotion.state_without(physics, leading)
        if not include_cfrc_ext_in_observation:
            return state
        return jnp.concatenate([state, contact_forces(physics)[1:].ravel()])

    def is_healthy(physics: Physics) -> Bool[Array, ""]:
        low, high = healthy_z_range
        return (low <= physics.qpos[2]) & (physics.qpos[2] <= high)

    def reward_terms(before: Physics, control: Array, after: Physics, dt: float) -> dict[str, Float[Array, ""]]:
        velocity = (after.derived["xpos"][body, 0] - before.derived["xpos"][body, 0]) / dt
        return {
            "reward_forward": forward_reward_weight * velocity,
            "reward_ctrl": -locomotion.control_cost(control, ctrl_cost_weight),
            "reward_contact": -contact_cost_weight * jnp.sum(jnp.square(contact_forces(after))),
            "reward_survive": healthy_reward * is_healthy(after),
        }

    return Definition(
        frame_skip=5,
        reset=functools.partial(locomotion.reset_normally, scale=reset_noise_scale),
        observe=observe,
        reward_terms=reward_terms,
        terminated=locomotion.ends_unless(is_healthy, terminate_when_unhealthy),
        derived=("xpos", "cfrc_ext"),
        unpredicted=6 * (model.nbody - 1) * include_cfrc_ext_in_observation,
    )
