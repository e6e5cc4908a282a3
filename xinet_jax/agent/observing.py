"""What an agent observes: normalised, where it is set to."""

from jaxtyping import Array, Bool, Float

from xinet_jax.agent.state import AgentState
from xinet_jax.networks import normalisation
from xinet_jax.types import Transition


def observe(
    state: AgentState, observation: Float[Array, "*envs observation"], counted: Bool[Array, "*envs"]
) -> AgentState:
    """Returns an agent that takes account of more observations. One that has diverged stays as it is.

    Args:
      state: the agent.
      observation: of each environment, `[*envs, observation]`.
      counted: whether it counts; if not, its numbers may be anything.
    """
    if state.observations is None:
        return state
    counted = counted & ~state.diverged
    return state._replace(observations=normalisation.observe(state.observations, observation, counted))


def as_seen(state: AgentState, observation: Float[Array, "*batch observation"]) -> Float[Array, "*batch observation"]:
    """Returns observations as the agent's networks take them."""
    return observation if state.observations is None else normalisation.normalise(state.observations, observation)


def batch_as_seen(state: AgentState, batch: Transition) -> Transition:
    """Returns transitions with their observations as the agent's networks take them."""
    return batch._replace(
        observation=as_seen(state, batch.observation), next_observation=as_seen(state, batch.next_observation)
    )
