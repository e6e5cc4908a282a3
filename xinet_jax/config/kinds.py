"""Kinds of agents, as a table: what an agent has, and which rules of pruning it reads."""

from typing import NamedTuple

from xinet_jax.config.names import NETWORKS, PRUNERS

# Fields of `PruningConfig`, by what they are about.
_COMPACTION = ("compact", "width_multiple")
_SCHEDULE = ("gated", "prune_start", "prune_ramp", "prune_every", "actor_waits")
_PRICE = ("price", "nu", "nu_scale_ofenet", "nu_scale_actor", "nu_scale_critic", "cost", "keep_share")
_THETA = ("theta_learning_rate", "theta_every", "theta_min", "prune_start_actor", "prune_start_critic", "prune_stop")
_GRADIENT = ("order", "estimator", "estimator_floor", "weights_see", "leave_out", "actor_speaks")


class AgentKind(NamedTuple):
    """What agents of one kind have in common.

    Attributes:
      extractor: whether there is a feature extractor, OFENet.
      gated: the networks whose units carry gates; None: those that the setting `gated` names.
      pruner: what moves the gates: `theta`, a pruner on a schedule, or `none`.
      needs_widths: whether it is trained with the widths that another run ended with.
      reads: the fields of `PruningConfig` that have an effect.
    """

    extractor: bool = True
    gated: tuple[str, ...] | None = ()
    pruner: str = "none"
    needs_widths: bool = False
    reads: tuple[str, ...] = ()

    @property
    def scheduled(self) -> bool:
        """Whether units are pruned on a schedule, and not by theta."""
        return self.pruner not in ("theta", "none")


def scheduled_kind(pruner: str) -> AgentKind:
    """Returns the kind of agent that a pruner prunes on a schedule."""
    return AgentKind(gated=None, pruner=pruner, reads=(*_SCHEDULE, "final_share", *_COMPACTION))


# `xinet_jax.register_pruner` adds to them.
KINDS: dict[str, AgentKind] = {
    "sac": AgentKind(extractor=False),
    "ofenet": AgentKind(),
    "xinet": AgentKind(gated=None, pruner="theta", reads=(*_SCHEDULE, *_PRICE, *_THETA, *_GRADIENT, *_COMPACTION)),
    # Its gates close the padding of narrow members. The price says which of a run's widths it takes.
    "small": AgentKind(gated=NETWORKS, needs_widths=True, reads=("nu", *_COMPACTION)),
    **{name: scheduled_kind(name) for name in PRUNERS},
}
