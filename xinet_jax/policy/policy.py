"""A trained policy by itself: compacted arrays, and a function from observations to actions."""

import functools
from pathlib import Path

import numpy as np

from xinet_jax.agent.state import Agent, AgentState, acting_gates
from xinet_jax.networks import complexity, layout, normalisation
from xinet_jax.policy.export.target import Export
from xinet_jax.policy.forward import Layer, Network, act, deterministic_network, folded, sample
from xinet_jax.policy.structure import Structure
from xinet_jax.pruning import compaction, folding
from xinet_jax.tasks.task import Task
from xinet_jax.types import Tree

_FEW = 64  # observations; for more, a product of matrices is faster than one of each row


class Policy:
    """A deterministic policy: `policy(observation) -> action`, actions as the task's environment takes them.

    Attributes:
      structure: what it is.
      arrays: `{"ofenet": {"state"}, "statistics": {"state"}, "actor"}`, with no gates and no pruned units.
      generator: draws the noise of stochastic actions (`predict`); seeded with the policy's own seed.
    """

    def __init__(self, structure: Structure, arrays: dict[str, Tree]):
        self.structure = structure
        self.arrays = arrays
        self.generator = np.random.default_rng(structure.seed)

    @functools.cached_property
    def network(self) -> Network:
        """What `policy(observation)` computes, as a list of layers."""
        return deterministic_network(self.structure, self._layers)

    @functools.cached_property
    def _layers(self) -> tuple[Layer, ...]:
        return folded(self.structure, self.arrays)

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Returns the action for one observation `[observation]`, or for a batch of them `[batch, observation]`.

        NumPy computes it, and nothing is compiled. Up to 64 observations are computed each by itself, as by `each`;
        larger batches are multiplied by the weights at once, which is faster.

        Raises:
          ValueError: if the last axis has another length.
        """
        observation = self._checked(observation)
        if observation.size <= _FEW * self.structure.observation:
            return self.each(observation)
        with _quiet():
            return act(self.network, observation)

    def each(self, observations: np.ndarray) -> np.ndarray:
        """Returns the actions for a batch of observations `[batch, observation]`, each computed by itself.

        To the last digit an action is the same whatever else is in the batch, which it is not where the whole batch is
        multiplied by the weights at once.

        Raises:
          ValueError: if the last axis has another length.
        """
        observations = self._checked(observations)
        with _quiet():
            if observations.ndim == 1:
                return act(self.network, observations)
            # NumPy multiplies matrices of one row one after the other, as it does vectors.
            return act(self.network, observations[..., None, :])[..., 0, :]

    def predict(
        self,
        observation: np.ndarray,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, None]:
        """Returns what a model of Stable-Baselines3 does: actions, and the next state of a recurrent policy.

        Args:
          observation: one `[observation]`, or a batch of them `[batch, observation]`.
          state, episode_start: of recurrent policies, which this is not; not read.
          deterministic: the squashed mean, or else an action drawn as in training, by `generator`.

        Returns:
          The actions, and None.

        Raises:
          ValueError: if the last axis has another length.
        """
        if deterministic:
            return self(observation), None
        with _quiet():
            action = sample(self._layers, self._checked(observation), self.generator)
        return self.network.offset + self.network.scale * action, None

    def export(self, file: Path | str, format: str | None = None, overwrite: bool = False) -> Export:
        """Writes the policy to a file that runs without this package, and checks that it computes the same.

        Args:
          file: the file; its ending says the format.
          format: the format, which must agree with the ending: `onnx`, `stablehlo` (.stablehlo, for `jax.export`),
            `numpy` (.npz, with a module that reads it beside it) or `c` (.h, a header in C99).
          overwrite: whether a file that exists is replaced.

        Returns:
          What was written, and how far it is from the policy.

        Raises:
          UserError: for a format or a file that will not do, if a package is missing, or if the check fails.
        """
        from xinet_jax.policy.export.export import export  # which needs what is here

        return export(self, file, format, overwrite)

    def _checked(self, observation: np.ndarray) -> np.ndarray:
        observation = np.asarray(observation, np.float32, order="C")  # other orders may round in other ways
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


def _quiet() -> np.errstate:
    """Silences what NumPy says of observations or weights that are not finite. The actions are not finite either."""
    return np.errstate(over="ignore", invalid="ignore")
