"""The trunk, and agents that are cut at its end."""

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

import xinet_jax
from experiments.what_predicts_recovery import measures
from experiments.what_predicts_recovery.rankings import RANKINGS, is_numbers
from xinet_jax import agent as agents
from xinet_jax.agent.pruning import without
from xinet_jax.agent.state import Agent, AgentState
from xinet_jax.pruning import schedules
from xinet_jax.pruning.compaction import rounded_widths
from xinet_jax.training import members
from xinet_jax.training.branch import find_branch
from xinet_jax.training.devices import spread
from xinet_jax.training.member import Member
from xinet_jax.training.setup import Setup
from xinet_jax.types import Transition, Units

HERE = Path(__file__).parent
FIRST_SEED, SEEDS, TRUNK_STEPS = 100, 8, 15_000
ROUNDS = 6  # of a cut; units are ranked anew in each
EPISODES = 10  # of each evaluation
NOTHING = "dense"  # the agents that are not cut


class Cut(NamedTuple):
    """Agents after a cut, in arrays of the sizes that are left.

    Attributes:
      setup: what they learn on with.
      state: the members.
      harm: what the cut did to the outputs, by its name, `[members]` each.
      key_measure: the random key of what is measured.
    """

    setup: Setup
    state: Member
    harm: dict[str, jax.Array]
    key_measure: jax.Array


def use_cores(cores: str | None) -> None:
    """Keeps this process, and those that it starts, to some cores, as `0` or `0,1`; to none in particular if None."""
    if cores:
        os.sched_setaffinity(0, set(map(int, cores.split(","))))


def trunk(task: str, runs: Path) -> Path:
    """Returns the run folder of the agents that are cut, trained if it is not there."""
    folder = runs / f"trunk-{task}"
    if not (folder / "checkpoints").exists():
        options = f"--task {task} --agent ofenet --seeds {SEEDS} --first-seed {FIRST_SEED} --devices 1"
        options += f" --steps {TRUNK_STEPS} --checkpoint-every {TRUNK_STEPS} --eval-every 5000 --final-episodes 1"
        command = [sys.executable, "-m", "xinet_jax", "train", *options.split(), "--out", str(folder)]
        subprocess.run(command, check=True)
    return folder


def cut_agents(arguments: argparse.Namespace, name: str) -> Cut:
    """Cuts the trunk's agents as a ranking says.

    Args:
      arguments: of the command line: task, share, runs, and the updates after the cut at which agents are measured.
      name: of `RANKINGS`, or `NOTHING`.
    """
    config = xinet_jax.branch_config(
        trunk(arguments.task, arguments.runs),
        agent="magnitude",  # gates on all networks, and replay as it is
        final_share=arguments.share,
        steps=TRUNK_STEPS + max(arguments.updates),
        prune_start=TRUNK_STEPS,
        prune_ramp=0,
        prune_every=1,
        eval_episodes=EPISODES,
    )
    start = find_branch(config, members.identities(config), print)
    if start.description.environment_steps != TRUNK_STEPS:
        raise SystemExit(f"{config.branch_from} is at step {start.description.environment_steps}, not {TRUNK_STEPS}")
    agent, hyper, count = start.setup.agent, start.setup.hyper, SEEDS
    state = jax.tree.map(jnp.asarray, start.state)
    key_rank, key_cut, key_measure = jax.random.split(jax.random.key(1), 3)
    sample = start.setup.buffer._replace(batch_size=4096).sample
    transitions = jax.vmap(sample, in_axes=(0, None))(state.replay, key_measure)
    before = jax.jit(jax.vmap(partial(measures.outputs, agent)))(state.agent, transitions)

    seconds = time.monotonic()
    cut = state.agent
    if name != NOTHING:
        rank, shrink = jax.jit(jax.vmap(partial(RANKINGS[name], agent))), jax.jit(_shrunken(agent))
        for number in range(ROUNDS):
            share = arguments.share ** ((number + 1) / ROUNDS)
            keys = jax.random.split(jax.random.fold_in(key_rank, number), count)
            few, many = (
                jax.vmap(start.setup.buffer._replace(batch_size=size).sample)(
                    state.replay, jax.random.split(jax.random.fold_in(key_cut, number), count)
                )
                for size in (1024, 2048)
            )
            score = rank(hyper, cut, few, keys)
            if not is_numbers(score):
                raise SystemExit(f"the scores of {name} are not finite")
            cut = shrink(cut, score, many, share)
    after = jax.jit(jax.vmap(partial(measures.outputs, agent)))(cut, transitions)
    harm = jax.vmap(measures.harm)(before, after)
    print(f"{name}: cut in {time.monotonic() - seconds:.0f} s", flush=True)

    widths = rounded_widths(agent.networks.shape, cut.alive, 1)
    small, compacted = agents.compact(agent, cut, widths)
    small = small._replace(gated=(), pruner="none")
    compacted = compacted._replace(theta={}, alive={}, origin={})
    setup = start.setup.with_agent(small)
    return Cut(setup, spread(state._replace(agent=compacted), setup.mesh), harm, key_measure)


def _shrunken(agent: Agent) -> Callable:
    """Returns `_without` for several agents, `(states, scores, batches, share) -> states`."""
    return jax.vmap(partial(_without, agent), in_axes=(0, 0, 0, None))


def _without(agent: Agent, state: AgentState, score: Units, batch: Transition, share: float | jax.Array) -> AgentState:
    """Returns one agent with its units of lowest score replaced by substitutes, down to a share of the parameters."""
    alive = schedules.prune(agent.dense, agent.networks.shape, score, state.alive, share)
    return state._replace(theta=alive, alive=alive, **without(agent, state, alive, batch))


def append(file: Path, rows: list[dict]) -> None:
    """Adds lines to a CSV file, which is begun if it is not there."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    new = not file.exists()
    with file.open("a", newline="") as lines:
        writer = csv.DictWriter(lines, names, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)
