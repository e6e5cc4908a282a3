"""The losses: OFENet's auxiliary task, critics, actor, temperature; and the scale that theta reads them on."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xinet_jax.arrays import Key
from xinet_jax.networks import Features, Networks, policy_distribution
from xinet_jax.replay import Transition

Tree = Any


def auxiliary_loss(
    networks: Networks, params: Tree, statistics: Tree, gates: dict | None, batch: Transition
) -> tuple[Float[Array, ""], Tree]:
    """Returns the mean squared error of the predicted next observation (Ota et al. 2020, eq. 1), and new statistics.

    Args:
      networks: the modules.
      params, statistics: OFENet's parameters and running averages.
      gates: OFENet's gates, or None.
      batch: transitions, `[batch, ...]`.
    """
    variables = {"params": params, "batch_stats": statistics}
    prediction, updated = networks.ofenet.apply(
        variables, batch.observation, batch.action, gates, train=True, mutable="batch_stats"
    )
    target = batch.next_observation[..., : networks.shape.predicted]
    return jnp.mean(jnp.square(prediction - target)), updated["batch_stats"]


def critic_loss(
    networks: Networks, params: Tree, gates: tuple | None, z_oa: Features, target: Float[Array, " batch"]
) -> Float[Array, "2"]:
    """Returns each critic's mean squared Bellman error (Haarnoja et al. 2018b, eq. 5, without its factor ½)."""
    value = networks.critic.apply({"params": params}, z_oa, gates)
    return jnp.mean(jnp.square(value - target), axis=-1)


def lesser(values: Float[Array, "2 *batch"]) -> Float[Array, "*batch"]:
    """Returns the lesser of two critics' values (Fujimoto et al. 2018); NaN if either is.

    Its gradient goes to the one that is chosen. That of JAX's `min` goes to all that equal the minimum, divided by how
    many do: none does where a compiled program computes values anew and rounds differently, and all is infinite.
    """
    first, second = values
    return jnp.where((first < second) | jnp.isnan(first), first, second)


def actor_loss(
    log_probability: Float[Array, " batch"], value: Float[Array, " batch"], temperature: Float[Array, ""]
) -> Float[Array, ""]:
    """Returns the policy's loss `E[alpha log pi(a|s) - Q(s, a)]` (Haarnoja et al. 2018b, eq. 7)."""
    return jnp.mean(temperature * log_probability - value)


def temperature_loss(
    log_temperature: Float[Array, ""], log_probability: Float[Array, " batch"], target_entropy: Float[Array, ""] | float
) -> Float[Array, ""]:
    """Returns the temperature's loss (Haarnoja et al. 2018b, eq. 18), with log alpha in alpha's place, as is common."""
    return -log_temperature * jnp.mean(jax.lax.stop_gradient(log_probability) + target_entropy)


def sample_action(
    networks: Networks, params: Tree, gates: tuple | None, z_o: Float[Array, "batch f"], key: Key
) -> tuple[Float[Array, "batch action"], Float[Array, " batch"]]:
    """Draws reparametrised actions from the policy, and their log probabilities."""
    output = networks.actor.apply({"params": params}, z_o, gates)
    return policy_distribution(output).sample_and_log_prob(seed=key)


def nats(shape_predicted: int, mse_bars: Tree, temperature: Float[Array, ""]) -> Tree:
    """Returns the factors that turn each loss into nats, the scale on which theta weighs it (method, section 2).

    Args:
      shape_predicted: d, the number of predicted observation dimensions.
      mse_bars: moving averages of the mean squared errors, `{"ofenet": [], "critic": [2]}`.
      temperature: alpha.

    Returns:
      `{"ofenet": (d/2)/MSE, "critic": (1/2)/MSE, "actor": 1/alpha, "temperature": 0}`, without gradient.
    """
    bars = jax.tree.map(lambda bar: jnp.maximum(jax.lax.stop_gradient(bar), 1e-12), mse_bars)
    return {
        "ofenet": 0.5 * shape_predicted / bars["ofenet"],
        "critic": 0.5 / bars["critic"],
        "actor": 1.0 / jax.lax.stop_gradient(temperature),
        "temperature": jnp.zeros(()),
    }
