"""What each unit is worth to the outputs of the networks: the Fisher information of its gate (method, section 3)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xinet_jax.agent.optimiser import averages
from xinet_jax.agent.state import Agent, AgentState
from xinet_jax.networks.modules import Features, Gate, OFENet, action_features, policy_distribution, state_features
from xinet_jax.types import Key, Transition, Units


def worth(agent: Agent, state: AgentState, batch: Transition, key: Key, probes: int = 1) -> Units:
    """Estimates how far the outputs move when a unit is replaced by its mean, while all others stay [nats].

    This is half the Fisher information of the unit's gate: to second order, the KL divergence between the distributions
    that the networks give with the gate open and with it closed, for a transition. Each transition has gates of its
    own, so that one backward pass gives all derivatives by all gates. A pass takes a sum of the outputs with random
    signs. The mean of its squared derivatives is that of every output by itself, without bias.

    Args:
      agent, state: the agent. It must have taken an update: errors are weighed by their moving averages.
      batch: transitions as the networks take them, `[batch, ...]`.
      key: random key for the signs.
      probes: passes to average over.
    """
    size = batch.reward.shape[0]
    open_gates = jax.tree.map(lambda unit: jnp.ones((*unit.shape[:-1], size, unit.shape[-1])), state.alive)

    def output_sum(xi: Units, key: Key) -> Float[Array, ""]:
        units = jax.tree.map(_gate, xi, state.alive)
        outputs = standardised_outputs(agent, state, batch, units)
        keys = dict(zip(outputs, jax.random.split(key, len(outputs)), strict=True))
        return sum(jnp.vdot(jax.random.rademacher(keys[n], out.shape, out.dtype), out) for n, out in outputs.items())

    def probe(key: Key) -> Units:
        derivative = jax.grad(output_sum)(open_gates, key)
        return jax.tree.map(lambda d: 0.5 * jnp.square(d).mean(axis=-2), derivative)

    if probes == 1:
        return probe(key)
    return jax.tree.map(lambda of_probe: of_probe.mean(axis=0), jax.lax.map(probe, jax.random.split(key, probes)))


def standardised_outputs(
    agent: Agent, state: AgentState, batch: Transition, units: Units
) -> dict[str, Float[Array, "..."]]:
    """Returns the networks' outputs in units of the standard deviations of the distributions that they stand for.

    The squared derivative of their sum of squares is the Fisher information: Gaussians with the moving mean squared
    errors as variances for prediction and action values; the policy's Gaussian, before it is squashed, for actions.

    Args:
      agent, state: the agent.
      batch: transitions as the networks take them, `[batch, ...]`.
      units: the gates.

    Returns:
      `prediction [batch, predicted]`, `value [2, batch]`, `mean` and `log_std [batch, action]`; no prediction without
      an extractor. Means and standard deviations of actions are constant where they are divided by.
    """
    networks, errors = agent.networks, averages(state.mse_bars)
    ofenet = (networks, state.params["ofenet"], state.statistics, units)
    z_o = state_features(*ofenet, batch.observation)
    z_oa = action_features(*ofenet, z_o, batch.action)
    value = networks.critic.apply({"params": state.params["critic"]}, z_oa, units.get("critic"))
    z_actor = z_o if agent.pruning.actor_speaks else jax.lax.stop_gradient(z_o)
    policy = policy_distribution(networks.actor.apply({"params": state.params["actor"]}, z_actor, units.get("actor")))
    mean, std = policy.distribution.loc, policy.distribution.scale_diag
    outputs = {
        "value": value / _deviation(errors["critic"])[:, None],
        "mean": mean / jax.lax.stop_gradient(std),
        "log_std": jnp.sqrt(2.0) * jnp.log(std),
    }
    if networks.shape.state_blocks:
        variables = {"params": state.params["ofenet"], "batch_stats": state.statistics}
        prediction = networks.ofenet.apply(variables, z_oa, method=_predict)
        outputs["prediction"] = prediction / _deviation(errors["ofenet"])
    return outputs


def _gate(xi: Float[Array, "*twins batch units"], alive: Float[Array, "*twins units"]) -> Gate:
    alive = alive[..., None, :]
    return Gate(xi * alive, (1.0 - xi) * alive)


def _predict(ofenet: OFENet, z_oa: Features) -> Float[Array, "batch predicted"]:
    return ofenet.predictor(z_oa)


def _deviation(mean_squared_error: Array) -> Array:
    return jnp.sqrt(jnp.maximum(mean_squared_error, 1e-12))
