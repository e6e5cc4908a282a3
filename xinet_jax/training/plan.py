"""What a run starts from, or goes on from: everything that is made of its configuration before anything is compiled."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from flashbax.buffers.trajectory_buffer import TrajectoryBuffer
from jax.sharding import Mesh

from xinet_jax import agent as agents
from xinet_jax.agent.replay import make_replay
from xinet_jax.agent.state import Agent, Hyper
from xinet_jax.config import Config, options_of_task, override
from xinet_jax.errors import UserError
from xinet_jax.networks.modules import Shape, make_networks
from xinet_jax.policy.evaluation import check_options_in_gymnasium
from xinet_jax.pruning.schedules import PRUNERS, smallest_share
from xinet_jax.tasks.registry import choose_engine, load_task
from xinet_jax.tasks.task import Task
from xinet_jax.training import from_widths as small
from xinet_jax.training import members, memory
from xinet_jax.training.devices import make_mesh, padded
from xinet_jax.training.members import Identity
from xinet_jax.training.program import Program, make_program


class OtherNetworks(Exception):
    """Sizes are not of an agent's networks."""


class Plan(NamedTuple):
    """A run, ready to start. Nothing is compiled and nothing written yet.

    Attributes:
      config: the configuration, with nothing left open.
      identities: this process's members.
      task, agent: what they learn, and what they are.
      widths: of agent small, each member's.
      mesh: the devices that they are spread over.
      replay, program: what they train with.
      hyper, seeds: leaves `[members]`, padding included.
      needed: the memory that it takes, in words.
    """

    config: Config
    identities: Sequence[Identity]
    task: Task
    agent: Agent
    widths: list[small.Widths]
    mesh: Mesh
    replay: TrajectoryBuffer
    program: Program
    hyper: Hyper
    seeds: np.ndarray
    needed: str


def prepare(config: Config, identities: Sequence[Identity], shape: Shape | None = None, settled: bool = False) -> Plan:
    """Returns what a run starts from, or goes on from.

    Args:
      config: the configuration.
      identities: this process's members.
      shape: the sizes that the networks have come to; None at the start.
      settled: whether pruning has ended.

    Raises:
      UserError: for what does not fit together, or not into memory.
      OtherNetworks: if `shape` is not of the agent's networks, made smaller.
    """
    config = dataclasses.replace(config, engine=choose_engine(config.task, config.engine))
    widths: list[small.Widths] = []
    if config.kind.needs_widths and shape is None:
        path = Path(config.networks.widths_from).resolve()  # so that the saved configuration runs from anywhere
        if config.overwrite and path.is_relative_to(config.run_folder.resolve()):
            raise UserError(f"widths_from {path} lies in the run folder that --overwrite would clear")
        config = override(config, {"widths_from": str(path)})
        structures = small.find_structures(path, [identity.seed for identity in identities], config.pruning.nu)
        config = small.with_dense_sizes(config, structures[0])
        widths = list(map(small.widths_left, structures))
    options = options_of_task(config)
    task = load_task(config.task, config.engine, config.mjx_impl, config.physics, **options)
    check_options_in_gymnasium(config.task, options)
    agent = agents.make_agent(config, task.observation_size, task.action_size, task.predicted_size)
    if widths and config.networks.uniform_widths:
        widths = [small.uniform_widths(agent.dense, own) for own in widths]
    agent = small.make_agent(agent, widths) if widths else agent
    if shape is not None:
        if not _is_smaller(shape, agent.dense):
            raise OtherNetworks
        agent = agent._replace(networks=make_networks(shape, config.precision))
    if settled:
        agent = agent._replace(pruner="none")

    mesh = make_mesh(config.devices, len(identities))
    everyone, batch_size = padded(identities, mesh), config.sac.batch_size
    capacity = max(min(config.sac.replay_capacity, config.steps), batch_size)
    needed = memory.predict(agent, capacity, batch_size)
    memory.check_fits(needed, len(everyone), mesh.devices.flat[0], mesh.size)  # before any array is made
    if config.pruner in PRUNERS:
        _check_reachable(agent, "final_share", config.pruning.final_share)
    elif config.pruning.keep_share:
        _check_reachable(agent, "keep_share", config.pruning.keep_share, config.pruning.cost)
    replay = make_replay(capacity, batch_size)
    program = make_program(agent, task, replay, config.eval_episodes, mesh)
    hyper = members.hyper_of_members(config, task.action_size, everyone)
    seeds = members.seeds_of_members(everyone)
    said = memory.describe(needed, len(everyone))
    return Plan(config, identities, task, agent, widths, mesh, replay, program, hyper, seeds, said)


def _is_smaller(shape: Shape, dense: Shape) -> bool:
    fixed = ("observation", "action", "predicted")
    if any(getattr(shape, name) != getattr(dense, name) for name in fixed):
        return False
    pairs = [(getattr(shape, name), getattr(dense, name)) for name in Shape._fields if name not in fixed]
    smaller = all(np.shape(a) == np.shape(b) and np.all(np.less_equal(a, b)) for a, b in pairs)
    return smaller and all((*shape.actor_hidden, *shape.critic_hidden))


def _check_reachable(agent: Agent, name: str, given: float, cost: str = "parameters") -> None:
    least = smallest_share(agent.dense, agent.gated, cost)
    if given < least:
        gated, enough = ", ".join(agent.gated), math.ceil(1000 * least) / 1000
        raise UserError(f"{name} must be {enough:g} or more where only {gated} may lose units, not {given:g}")
