"""Members: the agents trained side by side, every seed with every value of nu. Their hyper-parameters are leaves."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xinet_jax.config import Config, price_text
from xinet_jax.state import Hyper

Tree = Any


class Identity(NamedTuple):
    """Which member it is.

    Attributes:
      seed: its seed.
      nu: its price [nats]; None for agents without one.
      folder: the name of its policy folder.
      label: what it is called in messages.
    """

    seed: int
    nu: float | None
    folder: str
    label: str


def identities(config: Config) -> list[Identity]:
    """Returns every member of a run, by nu, then by seed."""
    seeds, nus = range(config.first_seed, config.first_seed + config.seeds), config.pruning.nu
    if config.pruner != "theta":
        return [Identity(seed, None, f"seed_{seed}", f"seed {seed}") for seed in seeds]
    if len(nus) == 1:
        return [Identity(seed, float(nus[0]), f"seed_{seed}", f"seed {seed}") for seed in seeds]
    return [
        Identity(seed, float(nu), f"nu_{price_text(nu)}_seed_{seed}", f"nu {price_text(nu)}, seed {seed}")
        for nu in nus
        for seed in seeds
    ]


def hyper_of_members(hyper: Hyper, members: list[Identity]) -> Hyper:
    """Returns every member's hyper-parameters: leaves `[members]`."""
    every = jax.tree.map(lambda value: jnp.full(len(members), value, jnp.float32), hyper)
    return every._replace(nu=jnp.array([member.nu or 0.0 for member in members], jnp.float32))


def seeds_of_members(members: list[Identity]) -> jax.Array:
    """Returns every member's seed, `[members]`."""
    return jnp.array([member.seed for member in members], jnp.int32)


def select(tree: Tree, member: int) -> Tree:
    """Returns one member's part of a tree, on the host and without the member axis."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[member], tree)
