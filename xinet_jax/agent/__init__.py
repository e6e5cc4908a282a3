"""The agent: SAC on the features of an OFENet, pruned while it learns. Pure functions over `AgentState`."""

from xinet_jax.agent.acting import act
from xinet_jax.agent.compaction import compact
from xinet_jax.agent.initial import init, make_agent, make_hyper
from xinet_jax.agent.observing import observe
from xinet_jax.agent.pruning import prune, schedule, settle, until_due
from xinet_jax.agent.state import Agent, AgentState, Hyper, Metrics
from xinet_jax.agent.update import pretrain, update, update_theta, update_weights

__all__ = [
    "Agent",
    "AgentState",
    "Hyper",
    "Metrics",
    "act",
    "compact",
    "init",
    "make_agent",
    "make_hyper",
    "observe",
    "pretrain",
    "prune",
    "schedule",
    "settle",
    "until_due",
    "update",
    "update_theta",
    "update_weights",
]
