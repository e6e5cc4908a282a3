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
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np

from experiments.what_predicts_recovery import measures
from experiments.what_predicts_recovery.cut import HERE, NOTHING, TRUNK_STEPS, append, cut_agents, use_cores
from experiments.what_predicts_recovery.rankings import RANKINGS
from experiments.what_predicts_recovery.tables import draw, tables

UPDATES = (100, 1_000, 5_000, 10_000, 15_000, 20_000)  # after the cut, at which agents are measured


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
        use_cores(arguments.cores)
        for name in arguments.rankings:
            if not _has(arguments, name):
                recover(arguments, name)
    if arguments.figure:
        draw(arguments.out, arguments.figure)
    print(tables(arguments.out))


def recover(arguments: argparse.Namespace, name: str) -> None:
    """Cuts the trunk's agents as a ranking says, lets them learn on, and writes down what is measured."""
    setup, state, harm, key_measure = cut_agents(arguments, name)
    sample = setup.buffer._replace(batch_size=4096).sample
    stamp, seconds = {"task": arguments.task, "share": arguments.share, "ranking": name}, time.monotonic()
    look = jax.jit(jax.vmap(partial(measures.plasticity, setup.agent), in_axes=(0, 0, 0, None)))
    rows, returns, done = [], [], 0
    for updates in (0, *arguments.updates):
        if updates:
            steps = TRUNK_STEPS + done
            state, tally = setup.program.train(setup.hyper, state, steps, updates - done, done)
            episodes = np.asarray(tally.episode_return) / np.maximum(np.asarray(tally.episodes), 1)
            done = updates
        batch = jax.vmap(sample, in_axes=(0, None))(state.replay, jax.random.fold_in(key_measure, done))
        found = look(setup.hyper, state.agent, batch, key_measure)
        scores = np.asarray(setup.program.evaluate(state.agent, setup.seeds)).mean(axis=1)
        for row, identity in enumerate(setup.identities):
            of_member = stamp | {"seed": identity.seed, "updates": done}
            numbers = measures.as_numbers(found | (harm if not done else {}), row)
            rows += [of_member | {"measure": key, "value": value} for key, value in numbers.items()]
            returns.append(of_member | {"return": round(float(scores[row]), 1)})
            if done and np.asarray(tally.episodes)[row]:
                returns[-1]["episodes_return"] = round(float(episodes[row]), 1)
        print(f"{name}: {done} updates, {time.monotonic() - seconds:.0f} s, return {scores.mean():.0f}", flush=True)
    append(arguments.out / "measures.csv", rows)
    append(arguments.out / "returns.csv", returns)


def _has(arguments: argparse.Namespace, name: str) -> bool:
    """Returns whether the files have a ranking's results."""
    file, wanted = arguments.out / "returns.csv", (arguments.task, str(arguments.share), name)
    if not file.exists():
        return False
    with file.open(newline="") as lines:
        return any((row["task"], row["share"], row["ranking"]) == wanted for row in csv.DictReader(lines))


if __name__ == "__main__":
    main()
