"""Which cut leaves a network that goes on learning best, and what tells so beforehand?

Dense agents of the quick preset learn for 15,000 steps: the trunk. All of them are cut to the same size at once, in six
rounds with substitutes, the same fraction of every layer; only which units go differs, by what ranks them. Then they
go on learning in the smaller arrays. Before and after are measured: what the cut does to the outputs, the losses, the
effective rank of hidden units, dormant units, gradients, and in the end the return.

    python -m experiments.what_predicts_recovery --task HalfCheetah-v5 [--share 0.11] [--cores 0]
    python -m experiments.what_predicts_recovery --table [--figure docs/notebook/recovery.png]

Seeds 100 to 107, in one program. `measures.csv` and `returns.csv` get lines as soon as a ranking is done; rankings that
they have already are left out. The trunk stays in `--runs`, and is trained if it is not there.
"""

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import xinet_jax
from experiments.what_predicts_recovery import measures
from experiments.what_predicts_recovery.rankings import RANKINGS, is_numbers
from experiments.what_predicts_recovery.tables import draw, tables
from xinet_jax import agent as agents
from xinet_jax.agent.pruning import without
from xinet_jax.agent.state import Agent, AgentState
from xinet_jax.pruning import schedules
from xinet_jax.pruning.compaction import rounded_widths
from xinet_jax.training import members
from xinet_jax.training.branch import find_branch
from xinet_jax.training.devices import spread
from xinet_jax.types import Transition, Units

HERE = Path(__file__).parent
FIRST_SEED, SEEDS, TRUNK_STEPS = 100, 8, 15_000
ROUNDS = 6  # of a cut; units are ranked anew in each
UPDATES = (100, 1_000, 5_000, 10_000, 15_000, 20_000)  # after the cut, at which agents are measured
EPISODES = 10  # of each evaluation
NOTHING = "dense"  # the agents that are not cut


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="HalfCheetah-v5", help="the task")
    parser.add_argument("--share", type=float, default=0.11, help="share of all parameters that the cut leaves")
    parser.add_argument("--rankings", nargs="*", default=[*RANKINGS, NOTHING], help="what ranks units")
    parser.add_argument("--runs", type=Path, default=Path("runs/recovery"), help="folder of the trunks")
    parser.add_argument("--cores", help="cores to run on, as 0 or 0,1; all if none")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the CSV files")
    parser.add_argument("--updates", type=int, nargs="*", default=UPDATES, help="when to measure after the cut")
    parser.add_argument("--figure", type=Path, help="file to draw the figure to")
    parser.add_argument("--table", action="store_true", help="print the tables and train nothing")
    arguments = parser.parse_args()
    for name in arguments.rankings:
        if name not in (*RANKINGS, NOTHING):
            parser.error(f"unknown ranking {name}: allowed: {', '.join((*RANKINGS, NOTHING))}")
    if not arguments.table:
        if arguments.cores:
            os.sched_setaffinity(0, set(map(int, arguments.cores.split(","))))
        for name in arguments.rankings:
            if not _has(arguments, name):
                recover(arguments, name)
    if arguments.figure:
        draw(arguments.out, arguments.figure)
    print(tables(arguments.out))


def trunk(task: str, runs: Path) -> Path:
    """Returns the run folder of the agents that are cut, trained if it is not there."""
    folder = runs / f"trunk-{task}"
    if not (folder / "checkpoints").exists():
        options = f"--task {task} --agent ofenet --seeds {SEEDS} --first-seed {FIRST_SEED} --devices 1"
        options += f" --steps {TRUNK_STEPS} --checkpoint-every {TRUNK_STEPS} --eval-every 5000 --final-episodes 1"
        command = [sys.executable, "-m", "xinet_jax", "train", *options.split(), "--out", str(folder)]
        subprocess.run(command, check=True)
    return folder


def recover(arguments: argparse.Namespace, name: str) -> None:
    """Cuts the trunk's agents as a ranking says, lets them learn on, and writes down what is measured."""
    last = max(arguments.updates)
    config = xinet_jax.branch_config(
        trunk(arguments.task, arguments.runs),
        agent="magnitude",  # gates on all networks, and replay as it is
        final_share=arguments.share,
        steps=TRUNK_STEPS + last,
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
    stamp = {"task": arguments.task, "share": arguments.share, "ranking": name}

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
    moved = jax.vmap(measures.harm)(before, after)
    print(f"{name}: cut in {time.monotonic() - seconds:.0f} s", flush=True)

    widths = rounded_widths(agent.networks.shape, cut.alive, 1)
    small, compacted = agents.compact(agent, cut, widths)
    small = small._replace(gated=(), pruner="none")
    compacted = compacted._replace(theta={}, alive={}, origin={})
    setup = start.setup.with_agent(small)
    state = spread(state._replace(agent=compacted), setup.mesh)
    look = jax.jit(jax.vmap(partial(measures.plasticity, small), in_axes=(0, 0, 0, None)))
    rows, returns, done = [], [], 0
    for updates in (0, *arguments.updates):
        if updates:
            steps = TRUNK_STEPS + done
            state, tally = setup.program.train(setup.hyper, state, steps, updates - done, done)
            episodes = np.asarray(tally.episode_return) / np.maximum(np.asarray(tally.episodes), 1)
            done = updates
        batch = jax.vmap(sample, in_axes=(0, None))(state.replay, jax.random.fold_in(key_measure, done))
        found = look(hyper, state.agent, batch, key_measure)
        scores = np.asarray(setup.program.evaluate(state.agent, setup.seeds)).mean(axis=1)
        for row, identity in enumerate(setup.identities):
            of_member = stamp | {"seed": identity.seed, "updates": done}
            numbers = measures.as_numbers(found | (moved if not done else {}), row)
            rows += [of_member | {"measure": key, "value": value} for key, value in numbers.items()]
            returns.append(of_member | {"return": round(float(scores[row]), 1)})
            if done and np.asarray(tally.episodes)[row]:
                returns[-1]["episodes_return"] = round(float(episodes[row]), 1)
        print(f"{name}: {done} updates, {time.monotonic() - seconds:.0f} s, return {scores.mean():.0f}", flush=True)
    _append(arguments.out / "measures.csv", rows)
    _append(arguments.out / "returns.csv", returns)


def _shrunken(agent: Agent) -> Callable:
    """Returns `_without` for several agents, `(states, scores, batches, share) -> states`."""
    return jax.vmap(partial(_without, agent), in_axes=(0, 0, 0, None))


def _without(agent: Agent, state: AgentState, score: Units, batch: Transition, share: float | jax.Array) -> AgentState:
    """Returns one agent with its units of lowest score replaced by substitutes, down to a share of the parameters."""
    alive = schedules.prune(agent.dense, agent.networks.shape, score, state.alive, share)
    return state._replace(theta=alive, alive=alive, **without(agent, state, alive, batch))


def _has(arguments: argparse.Namespace, name: str) -> bool:
    """Returns whether the files have a ranking's results."""
    file, wanted = arguments.out / "returns.csv", (arguments.task, str(arguments.share), name)
    if not file.exists():
        return False
    with file.open(newline="") as lines:
        return any((row["task"], row["share"], row["ranking"]) == wanted for row in csv.DictReader(lines))


def _append(file: Path, rows: list[dict]) -> None:
    """Adds lines to a CSV file, which is begun if it is not there."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    new = not file.exists()
    with file.open("a", newline="") as lines:
        writer = csv.DictWriter(lines, names, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
