"""The baseline `small`: OFENet-SAC from scratch with the widths that another run ended with.

Members may have different widths, and so may a member's two critics. Each is initialised at its own widths and then
placed into arrays as wide as the widest; gates that never open close the rest.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from xinet_jax import agent as agents
from xinet_jax import compaction, complexity, gates
from xinet_jax.arrays import Key
from xinet_jax.config import Config, check, override, preset_config, to_flat, value_text
from xinet_jax.errors import UserError, brief
from xinet_jax.networks import Shape, make_networks
from xinet_jax.policy import Structure, find_policies, load_structure
from xinet_jax.state import Agent, AgentState, Hyper

Tree = Any


class Widths(NamedTuple):
    """Units of every hidden layer of one agent."""

    state_blocks: tuple[int, ...]
    action_blocks: tuple[int, ...]
    actor_hidden: tuple[int, ...]
    critics_hidden: tuple[tuple[int, ...], tuple[int, ...]]


def widths_left(structure: Structure) -> Widths:
    """Returns the widths that a policy's agent ended with."""
    return _read(structure, "units")


def find_structures(path: Path, seeds: Sequence[int], nu: Sequence[float]) -> list[Structure]:
    """Returns the structure whose widths each seed takes: its own seed's, or the only one there is.

    Args:
      path: a run or policy folder.
      seeds: the seeds.
      nu: of a run with several prices, the one whose policies to take.

    Raises:
      UserError: if there is no policy for a seed, or more than one.
    """
    structures = [load_structure(folder) for folder in find_policies(path)]
    prices = {"none" if structure.nu is None else value_text(structure.nu): structure.nu for structure in structures}
    if len(prices) > 1:
        chosen = value_text(nu[0])
        if len(nu) != 1 or chosen not in prices:
            raise UserError(
                f"widths_from {path} was trained with several values of nu: choose one by nu ({' '.join(prices)})"
            )
        structures = [structure for structure in structures if structure.nu == prices[chosen]]
    if len(structures) == 1:
        return structures * len(seeds)
    by_seed = {structure.seed: structure for structure in structures}
    if len(by_seed) < len(structures):
        raise UserError(f"widths_from {path} has several agents of a seed: give the policy folder of one")
    for seed in seeds:
        if seed not in by_seed:
            raise UserError(f"widths_from {path} has no seed {seed}: it has {' '.join(map(str, by_seed))}")
    return [by_seed[seed] for seed in seeds]


def with_dense_sizes(config: Config, structure: Structure) -> Config:
    """Returns the configuration with the network sizes that a policy's agent started with.

    Raises:
      UserError: if that agent had no feature extractor, is not of this configuration's task, or has other sizes than
        those that were chosen.
    """
    if structure.task != config.task:
        raise UserError(f"widths_from holds a policy for {structure.task}, not for {config.task}")
    before = _read(structure, "units_before")
    if not before.state_blocks or len({*before.state_blocks, *before.action_blocks}) != 1:
        raise UserError(f"widths_from holds a policy of agent {structure.agent}, which has no OFENet to take widths of")
    sizes = {"blocks": len(before.state_blocks), "block_units": before.state_blocks[0]}
    sizes |= {"actor_hidden": before.actor_hidden, "critic_hidden": before.critics_hidden[0]}
    preset, chosen = (to_flat(c) for c in (preset_config(config.task, config.preset, config.agent), config))
    for name, size in sizes.items():
        if chosen[name] not in (preset[name], size):
            raise UserError(f"{name} of agent small is that of widths_from, {brief(size)}, not {brief(chosen[name])}")
    config = override(config, sizes)
    check(config)
    return config


def uniform_widths(dense: Shape, widths: Widths) -> Widths:
    """Returns the widths that are the same fraction of each dense layer, and come nearest to as many parameters.

    Args:
      dense: the sizes to take a fraction of.
      widths: whose number of parameters to match.
    """

    def scaled(fraction: float) -> Widths:
        layer = lambda layers: tuple(max(1, round(fraction * width)) for width in layers)  # noqa: E731
        critic = layer(dense.critic_hidden)
        return Widths(
            layer(dense.state_blocks), layer(dense.action_blocks), layer(dense.actor_hidden), (critic, critic)
        )

    wanted = _parameters(dense, widths)
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if _parameters(dense, scaled(middle)) <= wanted else (low, middle)
    return min((scaled(low), scaled(high)), key=lambda own: abs(_parameters(dense, own) - wanted))


def make_agent(agent: Agent, widths: Sequence[Widths]) -> Agent:
    """Returns the agent with arrays as wide as the widest of its members' widths."""

    def widest(layers: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        return tuple(map(max, zip(*layers, strict=True)))

    shape = agent.dense._replace(
        state_blocks=widest([own.state_blocks for own in widths]),
        action_blocks=widest([own.action_blocks for own in widths]),
        actor_hidden=widest([own.actor_hidden for own in widths]),
        critic_hidden=widest([hidden for own in widths for hidden in own.critics_hidden]),
    )
    return agent._replace(networks=make_networks(shape, agent.networks.precision))


def init(agent: Agent, hyper: Hyper, widths: Widths, key: Key) -> AgentState:
    """Returns one fresh agent with given widths, in the arrays of `make_agent`.

    Args:
      agent: from `make_agent`.
      hyper: its hyper-parameters, scalars.
      widths: its own widths.
      key: random key.
    """
    shape = agent.networks.shape
    own = shape._replace(
        state_blocks=widths.state_blocks,
        action_blocks=widths.action_blocks,
        actor_hidden=widths.actor_hidden,
    )
    narrow = [
        agents.init(agent._replace(networks=make_networks(own._replace(critic_hidden=hidden))), hyper, key).params
        for hidden in widths.critics_hidden
    ]
    alive = _masks(shape, widths)
    where = compaction.plan(shape, alive)
    state = agents.init(agent, hyper, key)
    twins = [
        compaction.place(
            where.critics[twin],
            jax.tree.map(lambda leaf, t=twin: leaf[t], narrow[twin]["critic"]["twins"]),
            jax.tree.map(lambda leaf: leaf[0], state.params["critic"]["twins"]),
        )
        for twin in range(2)
    ]
    critic = {"twins": jax.tree.map(lambda *leaves: np.stack(leaves), *twins)}
    ofenet, actor = (
        compaction.place(getattr(where, name), narrow[0][name], state.params[name]) for name in ("ofenet", "actor")
    )
    return jax.tree.map(
        jax.numpy.array,  # copies: parameters and target critic are both donated
        state._replace(
            params=state.params | {"ofenet": ofenet, "actor": actor, "critic": critic},
            target_critic=critic,
            theta=alive,
            alive=alive,
        ),
    )


def _read(structure: Structure, field: str) -> Widths:
    def hidden(network: str, prefix: str) -> tuple[int, ...]:
        rows = [row for row in structure.layers if row.network == network and row.name.startswith(prefix)]
        return tuple(getattr(row, field) for row in rows)

    critics = (hidden("critic_1", "hidden_"), hidden("critic_2", "hidden_"))
    return Widths(hidden("ofenet", "state_"), hidden("ofenet", "action_"), hidden("actor", "hidden_"), critics)


def _masks(shape: Shape, widths: Widths) -> gates.Units:
    def layer(full: int, *counts: int) -> np.ndarray:
        return np.squeeze(np.arange(full) < np.array(counts)[:, None], 0 if len(counts) == 1 else ()).astype(np.float32)

    return {
        "ofenet": {
            "state": tuple(map(layer, shape.state_blocks, widths.state_blocks)),
            "action": tuple(map(layer, shape.action_blocks, widths.action_blocks)),
        },
        "actor": tuple(map(layer, shape.actor_hidden, widths.actor_hidden)),
        "critic": tuple(map(layer, shape.critic_hidden, *widths.critics_hidden)),
    }


def _parameters(dense: Shape, widths: Widths) -> int:
    full = dense._replace(
        state_blocks=widths.state_blocks,
        action_blocks=widths.action_blocks,
        actor_hidden=widths.actor_hidden,
        critic_hidden=tuple(map(max, *widths.critics_hidden)),
    )
    return sum(row.parameters for row in complexity.count(full, full, _masks(full, widths)))
