"""What ranks units within their layer: scores of one agent's units, higher for those that stay."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from xinet_jax.agent.state import Agent, AgentState
from xinet_jax.agent.theta import loss_gradient
from xinet_jax.agent.worth import worth
from xinet_jax.pruning import schedules, substitutes
from xinet_jax.types import Key, Transition, Units

PROBES = 4  # of the Fisher information
DRAWS = 200  # of theta's gates
RIDGE = 0.03  # as a share of each unit's variance


def random(agent: Agent, hyper, state: AgentState, batch: Transition, key: Key) -> Units:
    """Scores at random."""
    return schedules.random(agent.networks.shape, state.params, state.alive, agent.dense, state.origin, key)


def magnitude(agent: Agent, hyper, state: AgentState, batch: Transition, key: Key) -> Units:
    """Scores by the squared norm of incoming and outgoing weights."""
    return schedules.magnitude(agent.networks.shape, state.params, state.alive, agent.dense, state.origin, key)


def fisher(agent: Agent, hyper, state: AgentState, batch: Transition, key: Key) -> Units:
    """Scores by the change of the outputs when a unit is replaced by its mean [nats]."""
    return worth(agent, state, batch, key, PROBES)


def fisher_unsaid(agent: Agent, hyper, state: AgentState, batch: Transition, key: Key) -> Units:
    """Scores by `fisher`, times the share of a unit's variance that the layer's other units do not predict."""
    return jax.tree.map(jnp.multiply, fisher(agent, hyper, state, batch, key), _unsaid(agent, state, batch))


def theta(agent: Agent, hyper, state: AgentState, batch: Transition, key: Key) -> Units:
    """Scores by the gradient of theta as XiNet estimates it by default: `heun`, with few units left out [nats]."""
    rules = agent.pruning
    assert (rules.estimator, rules.weights_see) == ("heun", "open")
    draw = lambda key: loss_gradient(agent, hyper, state, batch, key, 10**9)  # noqa: E731
    gradients = jax.lax.map(draw, jax.random.split(key, DRAWS))
    return jax.tree.map(lambda gradient: -gradient.mean(axis=0), gradients)


def magnitude_unsaid(agent: Agent, hyper, state: AgentState, batch: Transition, key: Key) -> Units:
    """Scores by `magnitude`, times the share of a unit's variance that the layer's other units do not predict."""
    return jax.tree.map(jnp.multiply, magnitude(agent, hyper, state, batch, key), _unsaid(agent, state, batch))


def _unsaid(agent: Agent, state: AgentState, batch: Transition) -> Units:
    outputs = substitutes.outputs(agent.networks, state.params, state.statistics, state.alive, batch)
    return jax.tree.map(unsaid_share, {name: outputs[name] for name in state.alive}, state.alive)


def unsaid_share(outputs: jax.Array, alive: jax.Array, ridge: float = RIDGE) -> jax.Array:
    """Returns the share of each unit's variance that the layer's other units do not predict linearly.

    Args:
      outputs: of a layer, `[*twins, batch, units]`.
      alive: masks, `[*twins, units]`. Pruned units predict nothing.
      ridge: added to the variances, as a share of them.

    Returns:
      Shares, `[*twins, units]`, in (0, 1].
    """
    deviation = outputs - outputs.mean(axis=-2, keepdims=True)
    scale = jnp.sqrt(jnp.square(deviation).mean(axis=-2, keepdims=True))
    deviation = jnp.where(scale > 1e-8, deviation / jnp.maximum(scale, 1e-8), 0.0) * alive[..., None, :]
    width = outputs.shape[-1]
    correlation = jnp.einsum("...bi,...bj->...ij", deviation, deviation) / outputs.shape[-2]
    system = correlation + ridge * jnp.eye(width) + jnp.eye(width) * (1.0 - alive[..., None, :])
    return jnp.clip(1.0 / jnp.diagonal(jnp.linalg.inv(system), axis1=-2, axis2=-1), 0.0, 1.0)


Ranking = Callable[[Agent, object, AgentState, Transition, Key], Units]
RANKINGS: dict[str, Ranking] = {
    "random": random,
    "magnitude": magnitude,
    "fisher": fisher,
    "fisher_unsaid": fisher_unsaid,
    "magnitude_unsaid": magnitude_unsaid,
    "theta": theta,
}


def is_numbers(units: Units) -> bool:
    """Returns whether all scores are numbers."""
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(units))
