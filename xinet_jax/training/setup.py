"""What a run trains with: everything that is made of its configuration before anything is compiled."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from xinet_jax import agent as agents
from xinet_jax.agent.replay import Buffer
from xinet_jax.agent.state import Agent, Hyper
from xinet_jax.config import Config, options_of_task, override, round_of
from xinet_jax.errors import UserError
from xinet_jax.networks.modules import Shape, make_networks
from xinet_jax.policy.evaluation import check_options_in_gymnasium
from xinet_jax.pruning.schedules import smallest_share
from xinet_jax.tasks.registry import choose_engine, load_task
from xinet_jax.tasks.task import Task
from xinet_jax.training import from_widths as small
from xinet_jax.training import members, memory
from xinet_jax.training.devices import make_mesh, pad
from xinet_jax.training.members import Identity
from xinet_jax.training.program import Program, make_program


class OtherNetworks(Exception):
    """Sizes are not of an agent's networks."""


class Setup(NamedTuple):
    """A run, ready to start. Nothing is compiled and nothing written yet.

    Attributes:
      config: the configuration, with nothing left open.
      identities: this process's members.
      task, agent: what they learn, and what they are.
      widths: of agent small, each member's.
      mesh: the devices that they are spread over.
      buffer, program: what they train with.
      hyper, seeds: leaves `[members]`, padding included.
      memory: the memory that it takes, in words.
    """

    config: Config
    identities: Sequence[Identity]
    task: Task
    agent: Agent
    widths: list[small.Widths]
    mesh: Mesh
    buffer: Buffer
    program: Program
    hyper: Hyper
    seeds: np.ndarray
    memory: str

    def with_agent(self, agent: Agent) -> "Setup":
        """Returns the setup for the agent in other sizes, or without its pruner. Its program is not compiled yet."""
        return self._replace(agent=agent, program=_program(self.config, agent, self.task, self.buffer, self.mesh))


def prepare(config: Config, identities: Sequence[Identity], shape: Shape | None = None, settled: bool = False) -> Setup:
    """Returns what a run trains with, at its start or where it goes on.

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
        config, widths = _with_widths(config, [identity.seed for identity in identities])
    options = options_of_task(config)
    task = load_task(config.task, config.engine, config.mjx_impl, config.physics, **options)
    check_options_in_gymnasium(config.task, options)
    agent = agents.make_agent(config, task.observation_size, task.action_size, task.predicted_size)
    if widths and config.networks.uniform_widths:
        widths = [small.uniform_widths(agent.dense, of_member) for of_member in widths]
    agent = small.make_agent(agent, widths) if widths else agent
    if shape is not None:
        if not _is_smaller(shape, agent.dense):
            raise OtherNetworks
        agent = agent._replace(networks=make_networks(shape, agent.networks.precision))
    if settled:
        agent = agent._replace(pruner="none")

    mesh = make_mesh(config.devices, len(identities))
    rows, batch_size = pad(identities, mesh), config.sac.batch_size
    capacity = max(min(config.sac.replay_capacity, config.steps), batch_size)
    buffer = Buffer(math.ceil(capacity / config.envs), batch_size, config.envs)
    predicted = memory.predict(agent, buffer)
    memory.check_fits(predicted, len(rows), mesh.devices.flat[0], mesh.size)  # before any array is made
    if config.kind.scheduled:
        _check_reachable(agent, "final_share", config.pruning.final_share)
    elif config.pruning.keep_share:
        floor = config.pruning.theta_min if config.pruning.price == "found" else 0.0
        _check_reachable(agent, "keep_share", config.pruning.keep_share, config.pruning.cost, floor)
    return Setup(
        config=config,
        identities=identities,
        task=task,
        agent=agent,
        widths=widths,
        mesh=mesh,
        buffer=buffer,
        program=_program(config, agent, task, buffer, mesh),
        hyper=members.hyper_of_members(config, task.action_size, rows),
        seeds=members.seeds_of_members(rows),
        memory=memory.describe(predicted, len(rows)),
    )


def _program(config: Config, agent: Agent, task: Task, buffer: Buffer, mesh: Mesh) -> Program:
    return make_program(agent, task, buffer, config.eval_episodes, mesh, round_of(config).updates)


def _with_widths(config: Config, seeds: Sequence[int]) -> tuple[Config, list[small.Widths]]:
    """Returns the configuration of agent small with the dense sizes of `widths_from`, and every member's widths."""
    path = Path(config.networks.widths_from).resolve()  # so that the saved configuration runs from anywhere
    if config.overwrite and path.is_relative_to(config.run_folder.resolve()):
        raise UserError(f"widths_from {path} lies in the run folder that --overwrite would clear")
    config = override(config, {"widths_from": str(path)})
    structures = small.find_structures(path, seeds, config.pruning.nu)
    return small.with_dense_sizes(config, structures[0]), list(map(small.widths_left, structures))


def _is_smaller(shape: Shape, dense: Shape) -> bool:
    """Returns whether sizes are of the same networks, with as many units or fewer."""
    fixed = ("observation", "action", "predicted")
    if any(getattr(shape, name) != getattr(dense, name) for name in fixed):
        return False
    pairs = [(getattr(shape, name), getattr(dense, name)) for name in Shape._fields if name not in fixed]
    smaller = all(np.shape(a) == np.shape(b) and np.all(np.less_equal(a, b)) for a, b in pairs)
    return smaller and all((*shape.actor_hidden, *shape.critic_hidden))


def _check_reachable(agent: Agent, name: str, fraction: float, cost: str = "parameters", floor: float = 0.0) -> None:
    """Refuses a share that cannot be reached. `floor`: what theta of units that wait to be pruned stays at."""
    least = smallest_share(agent.dense, agent.gated, cost, floor)
    if fraction < least:
        gated, enough = ", ".join(agent.gated), math.ceil(1000 * least) / 1000
        raise UserError(f"{name} must be {enough:g} or more where only {gated} may lose units, not {fraction:g}")
