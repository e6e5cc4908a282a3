"""Takes pruned units out of the arrays of an agent (method, section 5)."""

import jax
import numpy as np

from xinet_jax.agent.state import Agent, AgentState
from xinet_jax.networks.modules import Shape, make_networks
from xinet_jax.pruning import compaction
from xinet_jax.types import Tree, Units


def compact(agent: Agent, state: AgentState, widths: Shape) -> tuple[Agent, AgentState]:
    """Returns the same agents in smaller arrays. They go on as they would have, but for rounding: speed changes.

    Args:
      agent: the agent.
      state: its members' states, with a leading member axis.
      widths: the sizes to come down to, from `xinet_jax.pruning.compaction.rounded_widths`.
    """
    state = jax.tree.map(np.asarray, state)
    shape, count = agent.networks.shape, state.params["temperature"].shape[0]
    members = (jax.tree.map(lambda leaf, m=member: leaf[m], state) for member in range(count))
    smaller = [compact_member(shape, member, compaction.kept_units(member.alive, widths)) for member in members]
    stacked = jax.tree.map(lambda *leaves: jax.numpy.asarray(np.stack(leaves)), *smaller)
    return agent._replace(networks=make_networks(widths, agent.networks.precision)), stacked


def compact_member(shape: Shape, state: AgentState, kept: Units) -> AgentState:
    """Returns one member's state with only some of its units left in it.

    Args:
      shape: the sizes before.
      state: arrays on the host, with no member axis.
      kept: masks of the units that stay, as many in one critic as in the other.
    """
    plan = compaction.plan(shape, kept)

    def smaller(params: dict[str, Tree]) -> dict[str, Tree]:
        return {name: {} for name in params} | compaction.take(plan.params, params)

    def units(values: Units) -> Units:
        return jax.tree.map(lambda value, mask: value[mask > 0.5].reshape(*value.shape[:-1], -1), values, kept)

    moments = state.optimiser
    mu, nu = (smaller({name: getattr(moment, part) for name, moment in moments.items()}) for part in ("mu", "nu"))
    return state._replace(
        params=smaller(state.params),
        target_critic=smaller({"critic": state.target_critic})["critic"],
        statistics=compaction.take(plan.statistics, state.statistics),
        optimiser={name: moment._replace(mu=mu[name], nu=nu[name]) for name, moment in moments.items()},
        theta=units(state.theta),
        alive=units(state.alive),
        origin=units(state.origin),
    )
