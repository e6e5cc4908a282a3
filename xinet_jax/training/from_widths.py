"""The baseline `small`: OFENet-SAC from scratch with the widths that another run ended with.

Members may have different widths, and so may a member's two critics. Each is initialised at its own widths and then
placed into arrays as wide as the widest; gates that never open close the rest.
"""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from xinet_jax import agent as agents
from xinet_jax.agent.state import Agent, AgentState, Hyper
from xinet_jax.config import Config, check, override, preset_config, to_flat, value_text
from xinet_jax.errors import UserError, brief
from xinet_jax.networks import complexity, layout
from xinet_jax.networks.modules import Shape, make_networks
from xinet_jax.policy.files import find_policies
from xinet_jax.policy.structure import Structure, load_structure
from xinet_jax.pruning import compaction
from xinet_jax.types import Key

Widths = tuple[Shape, Shape]  # one agent's sizes, with the widths of its first critic and of its second


def widths_left(structure: Structure) -> Widths:
    """Returns the sizes that a policy's agent ended with."""
    return structure.agent_shapes("units")


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
    before, _ = structure.agent_shapes("units_before")
    if not before.state_blocks or len({*before.state_blocks, *before.action_blocks}) != 1:
        raise UserError(f"widths_from holds a policy of agent {structure.agent}, which has no OFENet to take widths of")
    sizes = {"blocks": len(before.state_blocks), "block_units": before.state_blocks[0]}
    sizes |= {"actor_hidden": before.actor_hidden, "critic_hidden": before.critic_hidden}
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
        names = ("state_blocks", "action_blocks", "actor_hidden", "critic_hidden")
        layers = {name: tuple(max(1, round(fraction * width)) for width in getattr(dense, name)) for name in names}
        shape = dense._replace(**layers)
        return shape, shape

    wanted = _parameters(widths)
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if _parameters(scaled(middle)) <= wanted else (low, middle)
    return min((scaled(low), scaled(high)), key=lambda candidate: abs(_parameters(candidate) - wanted))


def make_agent(agent: Agent, widths: Sequence[Widths]) -> Agent:
    """Returns the agent with arrays as wide as the widest of its members' widths."""
    shapes = [shape for twins in widths for shape in twins]

    def widest(name: str) -> tuple[int, ...]:
        return tuple(map(max, zip(*(getattr(shape, name) for shape in shapes), strict=True)))

    names = ("state_blocks", "action_blocks", "actor_hidden", "critic_hidden")
    shape = agent.dense._replace(**{name: widest(name) for name in names})
    return agent._replace(networks=make_networks(shape, agent.networks.precision))


def init(agent: Agent, hyper: Hyper, widths: Widths, key: Key) -> AgentState:
    """Returns one fresh agent of some widths, in the arrays of `make_agent`.

    Args:
      agent: from `make_agent`.
      hyper: its hyper-parameters, scalars.
      widths: its widths.
      key: random key.
    """
    shape, state = agent.networks.shape, agents.init(agent, hyper, key)
    narrow = [
        layout.flat(agents.init(agent._replace(networks=make_networks(twin)), hyper, key).params) for twin in widths
    ]

    def mask(full: jax.Array, first: jax.Array, second: jax.Array) -> np.ndarray:
        counts = [first.shape[-1], second.shape[-1]][: 2 if full.ndim > 1 else 1]
        return (np.arange(full.shape[-1]) < np.array(counts)[:, None]).astype(np.float32).reshape(full.shape)

    alive = jax.tree.map(mask, layout.ones(shape), *map(layout.ones, widths))
    wide = layout.flat(state.params)
    for path, keep in compaction.plan(shape, alive).params.items():
        # Of two agents the first has the first critic, and the second the second.
        arrays = [params.get(path) for params in narrow] if keep.stacked else [narrow[0].get(path)]
        twins = [array if array is None or not keep.stacked else array[k] for k, array in enumerate(arrays)]
        wide[path] = compaction.place(keep, tuple(twins), wide[path])
    params = layout.nested(wide, state.params)
    return jax.tree.map(
        jax.numpy.array,  # copies: parameters and target critic are both donated
        state._replace(params=params, target_critic=params["critic"], theta=alive, alive=alive),
    )


def _parameters(widths: Widths) -> int:
    return int(sum(np.sum(layer.parameters) for layer in complexity.layers_of(widths)))
