"""The losses: OFENet's auxiliary task, critics, actor, temperature; and the scale that theta reads them on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xinet_jax.agent.state import Agent, AgentState, Hyper, acting_gates
from xinet_jax.networks.modules import Features, Networks, action_features, policy_distribution, state_features
from xinet_jax.types import Key, Transition, Tree, Units


class Targets(NamedTuple):
    """What the losses take as constants.

    Attributes:
      value: the critics' targets.
      z_o, z_oa: features of the observations, and of them and the actions, at the gates that networks act with.
    """

    value: Float[Array, " batch"]
    z_o: Float[Array, "batch features"]
    z_oa: Features


class Losses(NamedTuple):
    """Every network's loss.

    Attributes:
      ofenet: mean squared error of the predicted next observation.
      critic: mean squared Bellman error of each critic.
      actor: the policy's loss.
      temperature: the temperature's loss.
    """

    ofenet: Float[Array, ""]
    critic: Float[Array, "2"]
    actor: Float[Array, ""]
    temperature: Float[Array, ""]


class Figures(NamedTuple):
    """What else comes of computing the losses: OFENet's new running averages, and figures for the metrics."""

    statistics: Tree
    entropy: Float[Array, ""]
    action_value: Float[Array, ""]


def make_targets(agent: Agent, hyper: Hyper, state: AgentState, batch: Transition, key: Key) -> Targets:
    """Returns the constants of the losses.

    The critics learn `r + gamma (min_i Q_i(s', a') - alpha log pi(a'|s'))`, with `a'` drawn from the policy and `Q_i`
    the target critics (Haarnoja et al. 2018b, eq. 3 and 5).

    Args:
      agent, hyper, state: the agent.
      batch: transitions, `[batch, ...]`.
      key: random key for the next actions.
    """
    networks, gates = agent.networks, acting_gates(agent, state)
    ofenet = (networks, state.params["ofenet"], state.statistics, gates)
    # Both observations pass OFENet together, and then both pairs of observation and action.
    z_both = state_features(*ofenet, jnp.concatenate([batch.observation, batch.next_observation]))
    size = batch.reward.shape[0]
    z_o, z_next = z_both[:size], z_both[size:]
    action, log_probability = sample_action(networks, state.params["actor"], gates.get("actor"), z_next, key)
    both = action_features(*ofenet, z_both, jnp.concatenate([batch.action, action]))
    z_oa = jax.tree.map(lambda part: part[:size], both)
    z_next_action = jax.tree.map(lambda part: part[size:], both)
    value = lesser(networks.critic.apply({"params": state.target_critic}, z_next_action, gates.get("critic")))
    soft_value = value - jnp.exp(state.params["temperature"]) * log_probability
    return Targets(batch.reward + hyper.discount * batch.continues * soft_value, z_o, z_oa)


def compute_losses(
    agent: Agent,
    hyper: Hyper,
    state: AgentState,
    params: dict[str, Tree],
    units: Units | None,
    batch: Transition,
    targets: Targets,
    key: Key,
) -> tuple[Losses, Figures]:
    """Returns every network's loss. Whatever a loss reads of other networks, it takes as constants.

    So weights learn from their network's loss alone, while OFENet's gates answer to the losses of critics and actor
    as well (method, section 3).

    Args:
      agent, hyper, state: the agent.
      params: the parameters by which the losses are differentiated.
      units: the gates of the network that each loss trains; the other networks are read at their acting gates. None:
        all are, and the features of `targets` are used.
      batch: transitions, `[batch, ...]`.
      targets: from `make_targets`.
      key: random key for the actions.
    """
    networks, constant, acting = agent.networks, jax.lax.stop_gradient, acting_gates(agent, state)
    z_o, z_oa = targets.z_o, targets.z_oa
    if units is not None:
        ofenet = (networks, constant(params["ofenet"]), state.statistics, units)
        z_o = state_features(*ofenet, batch.observation)
        z_oa = action_features(*ofenet, z_o, batch.action)
    units = acting if units is None else units

    statistics, ofenet_loss = state.statistics, jnp.zeros(())
    if networks.shape.state_blocks:
        ofenet_loss, statistics = auxiliary_loss(
            networks, params["ofenet"], state.statistics, units.get("ofenet"), batch
        )
    critic = critic_loss(networks, params["critic"], units.get("critic"), z_oa, targets.value)

    z_actor = z_o if agent.pruning.actor_speaks else targets.z_o
    action, log_probability = sample_action(networks, params["actor"], units.get("actor"), z_actor, key)
    ofenet = (networks, constant(params["ofenet"]), state.statistics, acting)
    z_policy = action_features(*ofenet, targets.z_o, action)
    value = lesser(networks.critic.apply({"params": constant(params["critic"])}, z_policy, acting.get("critic")))
    actor = actor_loss(log_probability, value, jnp.exp(constant(params["temperature"])))
    temperature = temperature_loss(params["temperature"], log_probability, hyper.target_entropy)
    every = Losses(ofenet_loss, critic, actor, temperature)
    return every, Figures(statistics, -log_probability.mean(), value.mean())


def weights_loss(losses: Losses) -> Float[Array, ""]:
    """Returns the sum whose gradient the weights follow; half of each critic's error (Haarnoja et al. 2018b, eq. 5)."""
    return losses.ofenet + 0.5 * losses.critic.sum() + losses.actor + losses.temperature


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


def in_nats(
    losses: Losses, predicted: int, mean_ofenet: Float[Array, ""], mean_critic: Float[Array, "2"], alpha: Array
) -> Losses:
    """Returns the losses in nats, the scale on which theta weighs them (method, section 2).

    Prediction and critics are Gaussian log likelihoods whose variances are the mean squared errors; the actor's loss
    is divided by the temperature. The temperature's own loss has no gates, and counts nothing.

    Args:
      losses: the losses.
      predicted: d, the number of predicted observation dimensions.
      mean_ofenet, mean_critic: moving averages of the mean squared errors.
      alpha: the temperature.
    """
    variance_ofenet, variance_critic = (jnp.maximum(mean, 1e-12) for mean in (mean_ofenet, mean_critic))
    return Losses(
        ofenet=0.5 * predicted / variance_ofenet * losses.ofenet,
        critic=0.5 / variance_critic * losses.critic,
        actor=losses.actor / alpha,
        temperature=jnp.zeros(()),
    )
