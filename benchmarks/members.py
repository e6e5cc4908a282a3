"""Does a member cost more in a program of many than alone? And what does it need in memory?

The training phase of `xinet train` (act, step, store, sample, update; quick preset, native physics) for 1 to 32
members on one device, in turn. The ratio is a member's time per environment step over that of one alone. Memory is
XLA's own count of the program: arrays that stay, and working space.

    taskset -c 0 python benchmarks/members.py [--members 1 2 4 8 16 32] [--json]
"""

import argparse
import json
import statistics
import time

import jax

from xinet_jax import agent as agents
from xinet_jax.agent.replay import Buffer
from xinet_jax.config import make_config
from xinet_jax.tasks.registry import load_task
from xinet_jax.training import members as of_run
from xinet_jax.training.devices import make_mesh
from xinet_jax.training.program import make_program

REPEATS, SECONDS = 5, 1.5


def make_trainer(count):
    """Returns a function that takes `steps` environment steps of every member, and the program's bytes."""
    config = make_config(seeds=count, engine="native", prune_start=20_000, prune_stop=None)
    task = load_task(config.task, config.engine)
    agent = agents.make_agent(config, task.observation_size, task.action_size, task.predicted_size)
    buffer = Buffer(config.steps, config.sac.batch_size)
    program = make_program(agent, task, buffer, 1, make_mesh(1, count))
    identities = of_run.identities(config)
    hyper = of_run.hyper_of_members(config, task.action_size, identities)
    state = program.init(hyper, of_run.seeds_of_members(identities))
    state, _ = program.collect(state, 300)
    memory = program.train.lower(hyper, state, 300, 1, 0).compile().memory_analysis()

    def train(steps):
        nonlocal state
        before = time.perf_counter()
        state, tally = program.train(hyper, state, 300, steps, 0)
        jax.block_until_ready(tally)
        return (time.perf_counter() - before) / steps / count

    return train, (memory.argument_size_in_bytes, memory.temp_size_in_bytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32], help="numbers of members")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    counts = list(dict.fromkeys([1, *arguments.members]))
    made = {count: make_trainer(count) for count in counts}
    steps = {}
    for count, (train, _) in made.items():
        train(2)
        steps[count] = max(2, round(SECONDS / (train(4) * count)))
    times = {count: [] for count in counts}
    for _ in range(REPEATS):
        for count, (train, _) in made.items():
            times[count].append(train(steps[count]))
    rows = []
    for count, (_, (stays, works)) in made.items():
        ratio = statistics.median(together / alone for together, alone in zip(times[count], times[1], strict=True))
        seconds = statistics.median(times[count])
        rows.append(
            {
                "members": count,
                "member_steps_per_second": round(1 / seconds, 1),
                "cost_over_one_alone": round(ratio, 3),
                "megabytes_per_member": round(stays / count / 2**20, 2),
                "working_megabytes_per_member": round(works / count / 2**20, 2),
            }
        )
    if arguments.json:
        print(json.dumps(rows, allow_nan=False))
        return
    for row in rows:
        print(
            f"{row['members']:>3} members: {row['member_steps_per_second']} member steps/s, one costs "
            f"{row['cost_over_one_alone']:.2f} of one alone; {row['megabytes_per_member']} MB each "
            f"and {row['working_megabytes_per_member']} MB of working space"
        )


if __name__ == "__main__":
    main()
