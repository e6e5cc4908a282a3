"""The parts of an agent: what is static, its hyper-parameters, and the state that training changes."""

from typing import NamedTuple

import optax
from jaxtyping import Array, Bool, Float, Int

from xinet_jax.config import SWEPT, PruningConfig
from xinet_jax.networks.modules import Networks, Shape
from xinet_jax.networks.normalisation import ObservationStatistics
from xinet_jax.types import Tree, Units


class Agent(NamedTuple):
    """The static part of an agent.

    Attributes:
      networks: the modules with their present sizes.
      dense: the sizes before pruning.
      gated: the networks whose units carry gates.
      pruner: what prunes: `theta` (XiNet), a name of `xinet_jax.pruning.schedules.PRUNERS`, or `none`.
      pruning: the rules of pruning.
      normalises: whether observations are normalised by their running mean and variance.
    """

    networks: Networks
    dense: Shape
    gated: tuple[str, ...]
    pruner: str
    pruning: PruningConfig
    normalises: bool = False


Hyper = NamedTuple("Hyper", [(name, Float[Array, "*members"] | float) for name in SWEPT])
Hyper.__doc__ = "Hyper-parameters as leaves, one per name in `xinet_jax.config.SWEPT`. Members may differ in them."


class AgentState(NamedTuple):
    """The state of an agent.

    Attributes:
      params: `{"ofenet", "actor", "critic", "temperature"}`; the temperature is the logarithm of alpha.
      target_critic: the critics' slow copy.
      statistics: OFENet's running means and variances.
      optimiser: Adam's moments, per entry of `params`.
      theta: the probability that each gate is open, 0 to 1. With `weights_see: open` a gate stays open until its unit
        is pruned, and theta says how far that is.
      alive: 1.0 for each unit until it is pruned, then 0.0 for good.
      origin: each unit's index within its layer before pruning. Random numbers are drawn by it, so that compaction does
        not change which numbers a unit gets.
      mse_bars: moving averages of the mean squared errors of OFENet and critics.
      diverged: whether a loss or gradient has not been finite; all else then stays as it was before.
      observations: what observations are normalised by; None if they are not.
      waiting: updates for which the actor's weights still stay as they are; None if they never do.
    """

    params: dict[str, Tree]
    target_critic: Tree
    statistics: Tree
    optimiser: dict[str, optax.OptState]
    theta: Units
    alive: Units
    origin: Units
    mse_bars: optax.OptState
    diverged: Bool[Array, "*members"]
    observations: ObservationStatistics | None = None
    waiting: Int[Array, "*members"] | None = None


class Metrics(NamedTuple):
    """Figures of one update: losses, alpha [reward per nat], policy entropy [nats], mean action value."""

    auxiliary_loss: Float[Array, "*members"]
    critic_loss: Float[Array, "*members"]
    actor_loss: Float[Array, "*members"]
    temperature: Float[Array, "*members"]
    entropy: Float[Array, "*members"]
    action_value: Float[Array, "*members"]


def acting_gates(agent: Agent, state: AgentState) -> Units:
    """Returns the gates at which networks act: theta, or with `weights_see: open` 1 until a unit is pruned."""
    return state.alive if agent.pruning.weights_see == "open" else state.theta
