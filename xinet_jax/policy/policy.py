"""A trained policy by itself: compacted arrays, and a function from observations to actions."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from xinet_jax.agent.state import Agent, AgentState, acting_gates
from xinet_jax.compat.jax import in_float32
from xinet_jax.compat.xla import jit_options
from xinet_jax.networks import complexity, layout, normalisation
from xinet_jax.networks.modules import MLP, OFENet, policy_mode
from xinet_jax.policy.structure import Structure
from xinet_jax.pruning import compaction, folding
from xinet_jax.tasks.task import Task
from xinet_jax.types import Tree


class Policy:
    """A deterministic policy: `policy(observation) -> action`, actions as the task's environment takes them.

    Attributes:
      structure: what it is.
      arrays: `{"ofenet": {"state"}, "statistics": {"state"}, "actor"}`, with no gates and no pruned units.
    """

    def __init__(self, structure: Structure, arrays: dict[str, Tree]):
        self.structure = structure
        self.arrays = arrays

    @functools.cached_property
    def _apply(self) -> Callable:
        return jax.jit(_make_apply(self.structure), **jit_options(jax.default_backend()))

    @functools.cached_property
    def _apply_to_each(self) -> Callable:
        apply = _make_apply(self.structure)
        each = lambda trees, rows: jax.lax.map(lambda row: apply(trees, row), rows)  # noqa: E731
        return jax.jit(each, **jit_options(jax.default_backend()))

    @in_float32
    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Returns the action for one observation `[observation]`, or for a batch of them `[batch, observation]`.

        Raises:
          ValueError: if the last axis has another length.
        """
        return np.asarray(self._apply(self.arrays, self._checked(observation)))

    @in_float32
    def each(self, observations: np.ndarray) -> np.ndarray:
        """Returns the actions for a batch of observations `[batch, observation]`, each computed by itself.

        To the last digit an action is the same whatever else is in the batch, which it is not where the whole batch is
        multiplied by the weights at once.

        Raises:
          ValueError: if the last axis has another length.
        """
        return np.asarray(self._apply_to_each(self.arrays, self._checked(observations)))

    def _checked(self, observation: np.ndarray) -> np.ndarray:
        observation = np.asarray(observation, np.float32)
        if observation.ndim == 0 or observation.shape[-1] != self.structure.observation:
            raise ValueError(f"observations must be [..., {self.structure.observation}], not {observation.shape}")
        return observation


def from_agent(
    agent: Agent,
    state: AgentState,
    *,
    task: Task,
    name: str,
    seed: int,
    nu: float | None,
    settings: dict[str, float],
    environment_steps: int,
) -> Policy:
    """Returns the policy of one agent, compacted unless its configuration says `compact: off`.

    Args:
      agent: the agent.
      state: one member's state, with no member axis.
      task: what it was trained on.
      name, seed, nu, settings, environment_steps: what to write down; `name` is the agent's.
    """
    shape = agent.networks.shape
    kept = layout.complete(shape, {} if agent.pruning.compact == "off" else state.alive)
    structure = Structure(
        task=task.name,
        task_options=task.options,
        agent=name,
        seed=seed,
        nu=nu,
        settings=settings,
        environment_steps=environment_steps,
        observation=shape.observation,
        action=shape.action,
        action_scale=tuple(map(float, task.control_scale)),
        action_offset=tuple(map(float, task.control_offset)),
        state_blocks=tuple(int(layer.sum()) for layer in kept["ofenet"]["state"]),
        actor_hidden=tuple(int(layer.sum()) for layer in kept["actor"]),
        layers=complexity.count(agent.dense, shape, state.alive),
    )
    plan = compaction.plan(shape, kept)
    params, statistics = folding.fold(shape, state.params, acting_gates(agent, state)), state.statistics
    if state.observations is not None:
        params, statistics = normalisation.fold(shape, params, statistics, state.observations)
    acting = {"ofenet": _state_branch(params["ofenet"]), "actor": params["actor"]}
    statistics = compaction.take(plan.statistics, _state_branch(statistics))
    arrays = compaction.take(plan.params, acting) | ({"statistics": statistics} if statistics else {})
    return Policy(structure, arrays)


def _state_branch(branches: dict[str, Tree]) -> dict[str, Tree]:
    """Returns the only one of OFENet's branches that is needed to act."""
    return {name: branch for name, branch in branches.items() if name == "state"}


def _make_apply(structure: Structure):
    ofenet, actor = OFENet(structure.state_blocks, (), 0), MLP(structure.actor_hidden, 2 * structure.action)
    scale, offset = (np.asarray(values, np.float32) for values in (structure.action_scale, structure.action_offset))

    def apply(arrays: dict[str, Tree], observation: jax.Array) -> jax.Array:
        variables = {"params": arrays.get("ofenet", {}), "batch_stats": arrays.get("statistics", {})}
        z_o = ofenet.apply(variables, observation, method=ofenet.state_features)
        return offset + scale * policy_mode(actor.apply({"params": arrays["actor"]}, z_o))

    return apply
