"""Members: the agents trained side by side, every seed with every combination of the hyper-parameters' values."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from xinet_jax import agent as agents
from xinet_jax.agent.state import Hyper
from xinet_jax.config import SWEPT, Config, override, to_flat, value_text, varied
from xinet_jax.types import Tree

_OF_THE_RUN = ("seeds", "first_seed", "out", "overwrite", "resume", "devices", "distributed", "log", "report")


class Identity(NamedTuple):
    """Which member it is.

    Attributes:
      seed: its seed.
      values: its hyper-parameters, by name: those of which the run has several values, and of agents with a price nu.
      folder: the name of its policy folder.
      label: what it is called in messages.
    """

    seed: int
    values: dict[str, float]
    folder: str
    label: str

    @property
    def nu(self) -> float | None:
        """Its price [nats]; None for agents without one."""
        return self.values.get("nu")

    @property
    def settings(self) -> dict[str, float]:
        """Its hyper-parameters but for the price, which files hold apart from them."""
        return {name: value for name, value in self.values.items() if name != "nu"}


def identities(config: Config) -> list[Identity]:
    """Returns every member of a run, by its hyper-parameters, then by seed."""
    names, values_of = varied(config), to_flat(config)
    price = {"nu": float(config.pruning.nu[0])} if config.pruner == "theta" and config.pruning.price == "fixed" else {}
    members = []
    for combination in itertools.product(*(values_of[name] for name in names)):
        several = dict(zip(names, map(float, combination), strict=True))
        for seed in range(config.first_seed, config.first_seed + config.seeds):
            words = [*((name, value_text(value)) for name, value in several.items()), ("seed", str(seed))]
            folder, label = "_".join(map("_".join, words)), ", ".join(map(" ".join, words))
            members.append(Identity(seed, price | several, folder, label))
    return members


def settings_of(config: Config, identity: Identity) -> dict[str, Any]:
    """Returns every setting of a run that concerns one of its members, with the member's own values and its seed."""
    flat = to_flat(override(config, identity.values))
    alone = {name: value[0] if name in SWEPT and value else value for name, value in flat.items()}
    return {"seed": identity.seed} | {name: value for name, value in alone.items() if name not in _OF_THE_RUN}


def hyper_of_members(config: Config, action_size: int, members: Sequence[Identity]) -> Hyper:
    """Returns every member's hyper-parameters: leaves `[members]`."""
    each = [agents.make_hyper(override(config, member.values), action_size) for member in members]
    return jax.tree.map(lambda *values: np.array(values, np.float32), *each)


def seeds_of_members(members: Sequence[Identity]) -> np.ndarray:
    """Returns every member's seed, `[members]`."""
    return np.array([member.seed for member in members], np.int32)


def select(tree: Tree, member: int) -> Tree:
    """Returns one member's part of a tree, on the host and without the member axis."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[member], tree)
