"""Whole episodes of the deterministic policy, inside a compiled program."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from xinet_jax import agent as agents
from xinet_jax.agent.state import Agent, AgentState
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.task import Task, TaskState

STRIDE = 50  # steps between looks at whether all episodes have ended: a GPU has to wait for the host each time
STREAM = 0x5EED  # folded into a member's seed, so that evaluation draws nothing from training's stream


def evaluate(agent: Agent, task: Task, episodes: int, state: AgentState, seed: Int[Array, ""]) -> Float[Array, " n"]:
    """Returns the returns of one member's episodes, `[episodes]`: always of the same first states.

    Args:
      agent, task: what it is, and what it learns.
      episodes: how many.
      state: the agent's state, of one member.
      seed: the member's seed.
    """
    key = jax.random.fold_in(jax.random.PRNGKey(seed), STREAM)
    start = jax.vmap(lambda key: tasks.reset(task, key))(jax.random.split(key, episodes))

    def step(carry: tuple[TaskState, Bool[Array, " n"]]) -> tuple[TaskState, Bool[Array, " n"]]:
        before, ended = carry
        actions = agents.act(agent, state, before.observation, None)
        after, outcome = jax.vmap(lambda state, action: tasks.step(task, state, action))(before, actions)

        def keep(old: Array, new: Array) -> Array:  # an episode that has ended stands still, and keeps its return
            return jnp.where(ended.reshape(-1, *[1] * (new.ndim - 1)), old, new)

        return jax.tree.map(keep, before, after), ended | outcome.ended

    def steps(carry: tuple[TaskState, Bool[Array, " n"]]) -> tuple[TaskState, Bool[Array, " n"]]:
        return jax.lax.fori_loop(0, STRIDE, lambda _, carry: step(carry), carry)

    final, _ = jax.lax.while_loop(lambda carry: ~carry[1].all(), steps, (start, jnp.zeros(episodes, bool)))
    return final.episode_return
