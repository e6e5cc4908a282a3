"""Where does the time of a training step go, and how many steps a second is that?

The parts of one environment step of `xinet train` (quick preset, native physics, dense sizes), each in a compiled loop
of its own, in turn with the whole: physics (the task's step), acting, replay (add and sample), update. The rest is what
the whole takes beyond the sum of its parts. What the host takes between two chunks (metrics, progress) is read from a
finished run's metrics: the time between two of its lines against what its steps took at the rate that it measured.

    taskset -c 0,1 python benchmarks/end_to_end.py [--agent xinet] [--members 1] [--run RUN] [--json]
"""

import argparse
import itertools
import json
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from xinet_jax import agent as agents
from xinet_jax.agent.replay import Buffer
from xinet_jax.config import make_config
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.registry import load_task
from xinet_jax.training import members as of_run
from xinet_jax.training.devices import SPREAD, claim_cores, make_mesh, spread
from xinet_jax.training.program import make_program

STEPS, REPEATS = 100, 9


def host_share(run):
    """Returns the share of training time that went by between chunks, without evaluations and compactions."""
    rows = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row.get("seed", rows[0]["seed"]) == rows[0]["seed"]]
    passed = computed = 0.0
    for before, after in itertools.pairwise(rows):
        if before["kind"] == after["kind"] == "train" and before["iterations_per_second"]:
            steps = after["environment_steps"] - before["environment_steps"]
            passed += after["seconds"] - before["seconds"]
            computed += steps / after["iterations_per_second"]
    return 1 - computed / passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", default="xinet", help="agent")
    parser.add_argument("--members", type=int, default=1, help="members, spread over devices as by xinet train")
    parser.add_argument("--run", help="a run folder, for the host's share")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    count = arguments.members
    claim_cores(None, count)
    overrides = {"prune_start": 20_000, "prune_stop": None} if arguments.agent == "xinet" else {}
    config = make_config(agent=arguments.agent, engine="native", seeds=count, **overrides)
    task, mesh = load_task(config.task, config.engine), make_mesh(None, count)
    agent = agents.make_agent(config, task.observation_size, task.action_size, task.predicted_size)
    buffer = Buffer(config.steps, config.sac.batch_size)
    program = make_program(agent, task, buffer, 1, mesh)
    identities = of_run.identities(config)
    identities += identities[-1:] * (-count % mesh.size)
    hyper = spread(of_run.hyper_of_members(config, task.action_size, identities), mesh)
    state = program.init(hyper, spread(of_run.seeds_of_members(identities), mesh))
    state, _ = program.collect(state, config.random_steps)
    fixed = jax.tree.map(jnp.array, state)  # what the parts read: the whole works in place

    def physics(member, hyper, i, task_state):
        after, _ = tasks.step_and_reset(task, task_state, 0.1 * jnp.ones(task.action_size), jax.random.PRNGKey(i))
        return after

    def acting(member, hyper, i, offset):
        action = agents.act(agent, member.agent, member.task.observation + offset, jax.random.PRNGKey(i))
        return offset + 1e-6 * action[0]

    def replaying(member, hyper, i, carry):
        kept, total = carry
        row = jax.tree.map(lambda leaf: leaf[0] + i, buffer.transitions(kept, jnp.arange(1)))
        kept = buffer.add(kept, row, jnp.bool_(True), i < 0)
        batch = buffer.sample(kept, jax.random.PRNGKey(i))
        return kept, total + sum(leaf.mean() for leaf in batch)

    def updating(member, hyper, i, carry):
        state, batch = carry
        return agents.update_weights(agent, hyper, state, batch, jax.random.PRNGKey(i))[0], batch

    batch = jax.jit(jax.vmap(lambda replay: buffer.sample(replay, jax.random.PRNGKey(0))))(fixed.replay)
    zeros = spread(jnp.zeros(len(identities)), mesh)
    starts = {
        "physics": (physics, fixed.task),
        "acting": (acting, zeros),
        "replay": (replaying, (fixed.replay, zeros)),
        "update": (updating, (fixed.agent, batch)),
    }

    def in_a_loop(part):
        def loop(member, hyper, carry):
            return jax.lax.fori_loop(0, STEPS, lambda i, part_carry: part(member, hyper, i, part_carry), carry)

        return jax.jit(jax.shard_map(jax.vmap(loop), mesh=mesh, in_specs=SPREAD, out_specs=SPREAD, check_vma=False))

    loops = {name: in_a_loop(part) for name, (part, _) in starts.items()}
    times = {name: [] for name in (*loops, "whole")}
    for repeat in range(REPEATS + 1):
        taken = {}
        for name, loop in loops.items():
            before = time.perf_counter()
            jax.block_until_ready(loop(fixed, hyper, starts[name][1]))
            taken[name] = time.perf_counter() - before
        before = time.perf_counter()
        state, tally = program.train(hyper, state, config.random_steps, STEPS, 0)
        jax.block_until_ready(tally)
        taken["whole"] = time.perf_counter() - before
        if repeat:  # the first compiles
            for name, seconds in taken.items():
                times[name].append(seconds / STEPS)
    median = {name: statistics.median(seconds) for name, seconds in times.items()}
    shares = {name: round(median[name] / median["whole"], 3) for name in loops}
    result = {
        "members": count,
        "steps_per_second_of_each": round(1 / median["whole"], 1),
        "share_of_the_whole": shares | {"rest": round(1 - sum(shares.values()), 3)},
        "microseconds": {name: round(1e6 * seconds, 1) for name, seconds in median.items()},
    }
    if arguments.run:
        result["host_share_of_the_run"] = round(host_share(arguments.run), 3)
    if arguments.json:
        print(json.dumps(result, allow_nan=False))
        return
    print(f"{count} members, {result['steps_per_second_of_each']} steps/s each")
    for name, share in result["share_of_the_whole"].items():
        print(f"{name:>8}: {share:6.1%}" + (f"  {median[name] * 1e6:8.1f} us" if name in median else ""))
    if arguments.run:
        print(f"between chunks of {arguments.run}: {result['host_share_of_the_run']:.1%}")


if __name__ == "__main__":
    main()
