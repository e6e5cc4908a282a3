"""The policy of an agent in training."""

from jaxtyping import Array, Float

from xinet_jax.agent.observing import as_seen
from xinet_jax.agent.state import Agent, AgentState, acting_gates
from xinet_jax.networks.modules import policy_distribution, policy_mode, state_features
from xinet_jax.types import Key


def act(agent: Agent, state: AgentState, observation: Float[Array, "*batch observation"], key: Key | None) -> Array:
    """Returns actions in [-1, 1], `[*batch, action]`: samples of the policy, or its mode if `key` is None."""
    gates, params = acting_gates(agent, state), state.params
    observation = as_seen(state, observation)
    z_o = state_features(agent.networks, params["ofenet"], state.statistics, gates, observation)
    output = agent.networks.actor.apply({"params": params["actor"]}, z_o, gates.get("actor"))
    return policy_mode(output) if key is None else policy_distribution(output).sample(seed=key)
