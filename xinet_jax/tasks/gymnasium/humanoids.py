"""Humanoid-v5, which walks, and HumanoidStandup-v5, which gets up from the floor. They observe the same."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Bool, Float

from xinet_jax.tasks.engines.physics import Physics
from xinet_jax.tasks.gymnasium import locomotion
from xinet_jax.tasks.gymnasium.locomotion import Range, within
from xinet_jax.tasks.task import Definition


def humanoid(
    model: mujoco.MjModel,
    forward_reward_weight: float = 1.25,
    ctrl_cost_weight: float = 0.1,
    contact_cost_weight: float = 5e-7,
    contact_cost_range: Range = (-jnp.inf, 10.0),
    healthy_reward: float = 5.0,
    terminate_when_unhealthy: bool = True,
    healthy_z_range: Range = (1.0, 2.0),
    reset_noise_scale: float = 1e-2,
    exclude_current_positions_from_observation: bool = True,
    include_cinert_in_observation: bool = True,
    include_cvel_in_observation: bool = True,
    include_qfrc_actuator_in_observation: bool = True,
    include_cfrc_ext_in_observation: bool = True,
) -> Definition:
    """Returns Humanoid, with Gymnasium's options. OFENet need not predict contact forces."""
    share = model.body_mass / model.body_mass.sum()

    def centre_of_mass(physics: Physics) -> Float[Array, ""]:
        return jnp.dot(share.astype(jnp.float32), physics.derived["xipos"][:, 0])

    def is_healthy(physics: Physics) -> Bool[Array, ""]:
        return within(physics.qpos[2], healthy_z_range)

    def reward_terms(before: Physics, control: Array, after: Physics, dt: float) -> dict[str, Float[Array, ""]]:
        return {
            "reward_survive": healthy_reward * is_healthy(after),
            "reward_forward": forward_reward_weight * (centre_of_mass(after) - centre_of_mass(before)) / dt,
            "reward_ctrl": -locomotion.control_cost(control, ctrl_cost_weight),
            "reward_contact": -_impact(after, contact_cost_weight, contact_cost_range),
        }

    return _definition(
        model,
        reward_terms,
        locomotion.ends_unless(is_healthy, terminate_when_unhealthy),
        reset_noise_scale,
        exclude_current_positions_from_observation,
        include_cinert_in_observation,
        include_cvel_in_observation,
        include_qfrc_actuator_in_observation,
        include_cfrc_ext_in_observation,
    )


def humanoid_standup(
    model: mujoco.MjModel,
    uph_cost_weight: float = 1.0,
    ctrl_cost_weight: float = 0.1,
    impact_cost_weight: float = 0.5e-6,
    impact_cost_range: Range = (-jnp.inf, 10.0),
    reset_noise_scale: float = 1e-2,
    exclude_current_positions_from_observation: bool = True,
    include_cinert_in_observation: bool = True,
    include_cvel_in_observation: bool = True,
    include_qfrc_actuator_in_observation: bool = True,
    include_cfrc_ext_in_observation: bool = True,
) -> Definition:
    """Returns HumanoidStandup, with Gymnasium's options; as there, `uph_cost_weight` changes nothing."""

    def reward_terms(before: Physics, control: Array, after: Physics, dt: float) -> dict[str, Float[Array, ""]]:
        return {
            "reward_linup": after.qpos[2] / model.opt.timestep,
            "reward_quadctrl": -locomotion.control_cost(control, ctrl_cost_weight),
            "reward_impact": -_impact(after, impact_cost_weight, impact_cost_range),
            "reward_constant": jnp.float32(1.0),  # which Gymnasium adds without a name
        }

    return _definition(
        model,
        reward_terms,
        locomotion.never,
        reset_noise_scale,
        exclude_current_positions_from_observation,
        include_cinert_in_observation,
        include_cvel_in_observation,
        include_qfrc_actuator_in_observation,
        include_cfrc_ext_in_observation,
    )


def _impact(physics: Physics, weight: float, limits: Range) -> Float[Array, ""]:
    return jnp.clip(weight * jnp.sum(jnp.square(physics.derived["cfrc_ext"])), *limits)


def _definition(
    model: mujoco.MjModel,
    reward_terms: Callable[[Physics, Array, Physics, float], dict[str, Array]],
    terminated: Callable[[Physics], Array],
    reset_noise_scale: float,
    without_position: bool,
    inertias: bool,
    velocities: bool,
    actuators: bool,
    contacts: bool,
) -> Definition:
    """Returns what the two tasks share, with parts of the observation left out or not."""
    leading = 2 * int(without_position)
    # As in Gymnasium, without what is always zero: the world's row of each field, the free joint's actuator forces.
    parts = {"cinert": (inertias, 1), "cvel": (velocities, 1), "qfrc_actuator": (actuators, 6)}

    def observe(physics: Physics) -> Float[Array, " observation"]:
        chosen = [physics.derived[name][first:].ravel() for name, (included, first) in parts.items() if included]
        forces = [physics.derived["cfrc_ext"][1:].ravel()] if contacts else []
        return jnp.concatenate([locomotion.state_without(physics, leading), *chosen, *forces])

    return Definition(
        frame_skip=5,
        reset=functools.partial(locomotion.reset_uniformly, scale=reset_noise_scale),
        observe=observe,
        reward_terms=reward_terms,
        terminated=terminated,
        derived=("xipos", "cinert", "cvel", "qfrc_actuator", "cfrc_ext"),
        unpredicted=6 * (model.nbody - 1) * contacts,
    )
