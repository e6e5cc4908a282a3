"""Where a run starts that goes on from the newest checkpoint of another: its members, replays, tasks and random keys.

Every member goes on from the other run's member of its seed and, of hyper-parameters of which the other run has several
values, of its values. Several members may go on from the same one. Their networks compute what those of the other run
did: gates that the other run did not have are open.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xinet_jax.agent.replay import Replay, resized, wrapped
from xinet_jax.agent.state import Agent, AgentState, acting_gates
from xinet_jax.config import Config, load_config, to_flat, value_text, varied
from xinet_jax.errors import UserError, brief
from xinet_jax.networks import layout
from xinet_jax.telemetry.json_lines import parse_json_lines
from xinet_jax.training import members, processes
from xinet_jax.training.branch_config import check_branch
from xinet_jax.training.members import Identity
from xinet_jax.training.records import identity_entries
from xinet_jax.training.resume import Start, newest_start
from xinet_jax.training.run_folder import CONFIG_FILE, metrics_file
from xinet_jax.training.setup import Setup, prepare
from xinet_jax.training.snapshot import snapshot
from xinet_jax.types import Tree, Units


def find_branch(config: Config, identities: Sequence[Identity], note: Callable[[str], None]) -> Start:
    """Returns where a run starts by its setting `branch_from`. The other run is only read.

    Args:
      config: the new run's configuration.
      identities: this process's members.
      note: prints one line.

    Raises:
      UserError: if the other run has no checkpoint that fits.
    """
    folder = Path(config.branch_from).resolve()  # so that the saved configuration runs from anywhere
    if config.overwrite and folder.is_relative_to(config.run_folder.resolve()):
        raise UserError(f"run {folder} lies in the run folder that --overwrite would clear")
    trunk_config = load_config(folder / CONFIG_FILE)
    config = dataclasses.replace(check_branch(config, trunk_config), branch_from=str(folder))
    trunk, _ = newest_start(trunk_config, processes.local_members(members.identities(trunk_config)), folder, note)
    if trunk is None:
        raise UserError(f"{folder} has no checkpoint to start from")
    steps = trunk.description.environment_steps
    if steps >= config.steps:
        raise UserError(f"{folder} is trained to {steps} steps already: choose more by steps")
    if config.pruner == "theta" and config.pruning.price == "found" and config.pruning.prune_start < steps:
        raise UserError(
            f"prune_start must be at least {steps} with price found, the steps that {folder} has come to, not "
            f"{config.pruning.prune_start}"
        )
    rows = trunk_rows(config, identities, trunk_config, trunk.setup.identities)
    settled = _is_settled(config, trunk)
    setup = prepare(config, identities, trunk.description.widths, settled)
    state = jax.tree.map(lambda leaf: leaf[np.array(rows)], trunk.state)
    agent = with_gates_of(setup, trunk.setup.agent, state.agent)
    filled = snapshot(state, len(rows), trunk.setup.buffer.capacity).replay
    _check_replay(config, filled, trunk.setup.buffer.capacity, setup.buffer.capacity)
    records = _branch_records(folder, trunk, identities, rows)
    description = dataclasses.replace(
        trunk.description,
        members=tuple(identity.folder for identity in identities),
        settled=settled,
        capacity=setup.buffer.capacity,
        filled=filled.reward.shape[-1],
        observations=filled.observation.shape[-2],
        metrics_bytes=len(records),
    )
    replay = resized(filled, trunk.setup.buffer.capacity, setup.buffer.capacity)
    return Start(setup, state._replace(agent=agent, replay=replay), description, records)


def trunk_rows(
    config: Config, identities: Sequence[Identity], trunk: Config, trunk_identities: Sequence[Identity]
) -> list[int]:
    """Returns for each member the row of the member that it goes on from.

    Args:
      config, identities: of the branch: its configuration and its members.
      trunk, trunk_identities: those of the other run.

    Raises:
      UserError: for a member that the other run does not have.
    """
    names = varied(trunk)

    def values_of(identity: Identity, flat: dict[str, Any]) -> tuple[str, ...]:
        """Returns a member's values of what the other run has several of, as files have them."""
        values = [identity.values.get(name, (flat[name] or (None,))[0]) for name in names]
        return tuple("none" if value is None else value_text(value) for value in values)

    flat, trunk_flat = to_flat(config), to_flat(trunk)
    known = {(member.seed, values_of(member, trunk_flat)): row for row, member in enumerate(trunk_identities)}
    seeds = sorted({seed for seed, _ in known})
    for identity in identities:
        if identity.seed not in seeds:
            listed = brief(" ".join(map(str, seeds)))
            raise UserError(f"{config.branch_from} has no seed {identity.seed}: it has {listed}")
        values = values_of(identity, flat)
        if (identity.seed, values) not in known:
            words = ", ".join(map(" ".join, zip(names, values, strict=True)))
            listed = brief("; ".join(member.label for member in trunk_identities))
            raise UserError(f"{config.branch_from} has no member of seed {identity.seed} with {words}: it has {listed}")
    return [known[identity.seed, values_of(identity, flat)] for identity in identities]


def _is_settled(config: Config, trunk: Start) -> bool:
    """Returns whether the gates have settled for good. Refuses a `prune_stop` that would never be reached."""
    stop, steps = config.pruning.prune_stop, trunk.description.environment_steps
    if config.pruner != "theta" or stop is None or stop > steps:
        return False
    if not trunk.description.settled:
        raise UserError(
            f"prune_stop must be above {steps}, the steps that {config.branch_from} has come to, or nothing is pruned, "
            f"not {stop}"
        )
    return True


def with_gates_of(setup: Setup, trunk: Agent, state: AgentState) -> AgentState:
    """Returns agents with the gates that the branch's kind of agent has.

    Args:
      setup: what the branch trains with.
      trunk: the agent of the other run.
      state: its members that the branch goes on from, on the host.

    Raises:
      UserError: if the networks would not compute the same.
    """
    agent, shape, rows = setup.agent, setup.agent.networks.shape, len(setup.identities)
    source, kind = setup.config.branch_from, setup.config.agent
    for name in trunk.gated:
        if name not in agent.gated and _is_pruned(trunk, state, name):
            raise UserError(f"{source} has closed gates of {name}, and agent {kind} has none there")

    def repeated(units: Units) -> Units:
        return jax.tree.map(lambda leaf: np.broadcast_to(leaf, (rows, *leaf.shape)).copy(), units)

    inherited = [name for name in agent.gated if name in trunk.gated]
    opened = repeated(layout.ones(shape, agent.gated))
    alive = opened | {name: state.alive[name] for name in inherited}
    theta = alive if setup.config.kind.scheduled else opened | {name: state.theta[name] for name in inherited}
    origin = repeated(layout.original(shape, agent.gated)) | {name: state.origin[name] for name in inherited}
    after = state._replace(alive=alive, theta=theta, origin=origin, waiting=_waiting(agent, state, rows))
    before, now = acting_gates(trunk, state), acting_gates(agent, after)
    for name in inherited:
        if not _equal(before[name], now[name]):
            raise UserError(
                f"{source} has gates of {name} that are neither open nor closed: agent {kind} with weights_see "
                f"{setup.config.pruning.weights_see} would read them otherwise"
            )
    return after


def _waiting(agent: Agent, state: AgentState, rows: int) -> np.ndarray | None:
    """Returns for how many updates each actor still waits; None if actors of the branch never do."""
    if not agent.pruning.actor_waits:
        return None
    return np.zeros(rows, np.int32) if state.waiting is None else state.waiting


def _is_pruned(agent: Agent, state: AgentState, name: str) -> bool:
    """Returns whether a network has lost a unit, or acts with a gate that is not open."""
    return not _equal(acting_gates(agent, state)[name], layout.ones(agent.dense, (name,))[name])


def _equal(ours: Tree, theirs: Tree) -> bool:
    """Returns whether two trees have the same values in arrays of the same widths."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return all(a.shape[-1] == b.shape[-1] and np.array_equal(a, np.broadcast_to(b, a.shape)) for a, b in pairs)


def _check_replay(config: Config, replay: Replay, before: int, now: int) -> None:
    """Refuses another capacity of the replay where transitions would be lost, or their order.

    Args:
      config: the branch's configuration.
      replay: what the branch starts with, of all members: a snapshot's.
      before, now: transitions that there was and is room for.
    """
    filled, envs, source = replay.reward.shape[-1], config.envs, config.branch_from
    if now == before:
        return
    if filled >= now:
        raise UserError(
            f"replay_capacity must be above the {filled * envs} transitions that {source} has, "
            f"not {config.sac.replay_capacity}"
        )
    if now < before and wrapped(replay, now):
        raise UserError(
            f"replay_capacity must be at least {before * envs} as in {source}, which has many short episodes"
        )


def _branch_records(folder: Path, trunk: Start, identities: Sequence[Identity], rows: Sequence[int]) -> bytes:
    """Returns the other run's metrics up to its checkpoint, as those of the members that go on from there."""
    with (folder / metrics_file(jax.process_index())).open("rb") as file:
        records = list(parse_json_lines(file.read(trunk.description.metrics_bytes).splitlines()))
    lines = []
    for record in records:
        if "member" not in record:
            lines.append(record)
        for identity, row in zip(identities, rows, strict=True):
            known = identity_entries(trunk.setup.identities[row])
            if record.get("member") == known["member"]:
                rest = {name: value for name, value in record.items() if name not in known}
                lines.append({"kind": rest.pop("kind")} | identity_entries(identity) | rest)
    return "".join(f"{json.dumps(line, allow_nan=False)}\n" for line in lines).encode()
