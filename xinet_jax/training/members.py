"""Members: the agents trained side by side, every seed with every combination of the hyper-parameters' values."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from xinet_jax import agent as agents
from xinet_jax.agent.state import Hyper
from xinet_jax.config import Config, override, to_flat, value_text, varied
from xinet_jax.types import Tree


class Identity(NamedTuple):
    """Which member it is.

    Attributes:
      seed: its seed.
      nu: its price [nats]; None for agents without one.
      settings: its other hyper-parameters, by name, of which the run has several values.
      folder: the name of its policy folder.
      label: what it is called in messages.
    """

    seed: int
    nu: float | None
    settings: dict[str, float]
    folder: str
    label: str


def identities(config: Config) -> list[Identity]:
    """Returns every member of a run, by its hyper-parameters, then by seed."""
    names, flat, found = varied(config), to_flat(config), []
    for combination in itertools.product(*(flat[name] for name in names)):
        settings = dict(zip(names, map(float, combination), strict=True))
        words = [(name, value_text(value)) for name, value in settings.items()]
        nu = settings.pop("nu", float(config.pruning.nu[0])) if config.pruner == "theta" else None
        for seed in range(config.first_seed, config.first_seed + config.seeds):
            own = [*words, ("seed", str(seed))]
            folder, label = "_".join("_".join(word) for word in own), ", ".join(" ".join(word) for word in own)
            found.append(Identity(seed, nu, settings, folder, label))
    return found


def hyper_of_members(config: Config, action_size: int, members: Sequence[Identity]) -> Hyper:
    """Returns every member's hyper-parameters: leaves `[members]`."""

    def of_member(member: Identity) -> Hyper:
        own = member.settings | ({} if member.nu is None else {"nu": member.nu})
        return agents.make_hyper(override(config, own), action_size)

    return jax.tree.map(lambda *values: np.array(values, np.float32), *map(of_member, members))


def seeds_of_members(members: Sequence[Identity]) -> np.ndarray:
    """Returns every member's seed, `[members]`."""
    return np.array([member.seed for member in members], np.int32)


def select(tree: Tree, member: int) -> Tree:
    """Returns one member's part of a tree, on the host and without the member axis."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[member], tree)
