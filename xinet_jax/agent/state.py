"""What an agent is made of: its static part, its hyper-parameters, and the state that training carries along."""

from typing import NamedTuple

import optax
from jaxtyping import Array, Bool, Float

from xinet_jax.config.schema import PruningConfig
from xinet_jax.networks.modules import Networks, Shape
from xinet_jax.types import Tree, Units


class Agent(NamedTuple):
    """What is static about an agent.

    Attributes:
      networks: the modules, and the sizes that they have now.
      dense: the sizes before pruning.
      gated: the networks whose units carry gates.
      pruner: what moves the gates: `theta` (XiNet's gradient), one of `xinet_jax.pruning.schedules`, or `none`.
      pruning: the rules of pruning.
    """

    networks: Networks
    dense: Shape
    gated: tuple[str, ...]
    pruner: str
    pruning: PruningConfig


class Hyper(NamedTuple):
    """Hyper-parameters as leaves: they may differ from member to member. Names as in `xinet_jax.config`."""

    discount: Float[Array, "*members"] | float
    tau: Float[Array, "*members"] | float
    learning_rate: Float[Array, "*members"] | float
    weight_decay: Float[Array, "*members"] | float
    target_entropy: Float[Array, "*members"] | float
    initial_temperature: Float[Array, "*members"] | float
    nu: Float[Array, "*members"] | float
    nu_scale: dict[str, Float[Array, "*members"] | float]
    theta_learning_rate: Float[Array, "*members"] | float
    estimator_floor: Float[Array, "*members"] | float


class AgentState(NamedTuple):
    """What changes while an agent learns.

    Attributes:
      params: `{"ofenet", "actor", "critic", "temperature"}`; the temperature is the logarithm of alpha.
      target_critic: the critics' slow copy.
      statistics: OFENet's running means and variances.
      optimiser: Adam's moments, per entry of `params`.
      theta: what is held of each gate, 0 to 1: the probability that it is open, or with `weights_see: open` how far its
        unit is from being pruned.
      alive: 1.0 for every unit not pruned, 0.0 for good once it is.
      origin: every unit's index within its layer before pruning: its random draws stay its own after a compaction.
      mse_bars: moving averages of the mean squared errors of OFENet and critics.
      diverged: whether a loss or gradient was not finite once; all else stays as it was before that.
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


class Metrics(NamedTuple):
    """One update's figures: losses, alpha [reward per nat], policy entropy [nats], mean action value.

    Also how many units' theta stayed where it was since its gradient was not finite: none should, and of an agent that
    has diverged none is counted.
    """

    auxiliary_loss: Float[Array, "*members"]
    critic_loss: Float[Array, "*members"]
    actor_loss: Float[Array, "*members"]
    temperature: Float[Array, "*members"]
    entropy: Float[Array, "*members"]
    action_value: Float[Array, "*members"]
    theta_held: Float[Array, "*members"]


def acting_gates(agent: Agent, state: AgentState) -> Units:
    """Returns the gates at which networks act: theta, or with `weights_see: open` 1 until a unit is pruned."""
    return state.alive if agent.pruning.weights_see == "open" else state.theta
