"""The members at the start of a run."""

import jax

from xinet_jax.agent.state import AgentState
from xinet_jax.training import from_widths as small
from xinet_jax.training import members
from xinet_jax.training.devices import pad, spread
from xinet_jax.training.member import Member, agent_key
from xinet_jax.training.setup import Setup


def initial_state(setup: Setup) -> Member:
    """Returns the members that have not taken a step yet, spread over the devices."""
    state = setup.program.init(setup.hyper, setup.seeds)
    return state._replace(agent=_small_agents(setup)) if setup.widths else state


def _small_agents(setup: Setup) -> AgentState:
    """Returns the agents that start with the widths of another run."""
    agents = []
    for row, widths in enumerate(setup.widths):
        hyper = members.select(setup.hyper, row)
        agents.append(small.init(setup.agent, hyper, widths, agent_key(setup.identities[row].seed)))
    stacked = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *pad(agents, setup.mesh))
    return spread(stacked, setup.mesh)
