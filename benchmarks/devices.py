"""On CPUs, are devices of one core each faster than one device of all cores, for the same members?

The training phase of `xinet train` (quick preset, native physics) for eight members, in processes of their own, since
devices are fixed when JAX starts; the processes take turns. The ratio is one device's time over that of several.

    taskset -c 0,1 python benchmarks/devices.py [--devices 1 2] [--members 8] [--json]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

REPEATS, STEPS = 7, 30


def child(count: int, members: int) -> None:
    """Answers every line on standard input with the seconds that some steps of all members took."""
    import jax
    import numpy as np

    from xinet_jax.training.devices import claim_cores, make_mesh, place

    claim_cores(count, members)
    from xinet_jax import agent as agents
    from xinet_jax.config import make_config
    from xinet_jax.replay import make_replay
    from xinet_jax.tasks.registry import load_task
    from xinet_jax.training import members as of_run
    from xinet_jax.training.program import make_program

    config = make_config(seeds=members, engine="native", prune_start=20_000, prune_stop=None)
    task, mesh = load_task(config.task, config.engine), make_mesh(count, members)
    agent = agents.make_agent(config, task.observation_size, task.action_size)
    program = make_program(agent, task, make_replay(config.steps, config.sac.batch_size), 1, mesh)
    identities = of_run.identities(config)
    hyper = place(of_run.hyper_of_members(config, task.action_size, identities), mesh)
    state = program.init(hyper, place(of_run.seeds_of_members(identities), mesh))
    state, _ = program.collect(state, 300)
    state, _ = program.train(hyper, state, 300, 2, 0)
    for line in sys.stdin:
        if line.strip() == "parameters":
            norms = [np.square(np.asarray(leaf)).sum() for leaf in jax.tree.leaves(state.agent.params)]
            print(float(np.sqrt(sum(norms))), flush=True)
            continue
        before = time.perf_counter()
        state, tally = program.train(hyper, state, 300, STEPS, 0)
        jax.block_until_ready(tally)
        print(time.perf_counter() - before, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2], help="numbers of devices")
    parser.add_argument("--members", type=int, default=8, help="number of members")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.members)
        return
    command = [sys.executable, __file__, "--members", str(arguments.members), "--child"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = {count: subprocess.Popen([*command, str(count)], **pipes) for count in arguments.devices}

    def ask(count, line):
        started[count].stdin.write(line + "\n")
        started[count].stdin.flush()
        return float(started[count].stdout.readline())

    times = {count: [] for count in started}
    for repeat in range(REPEATS + 1):
        for count in started:
            seconds = ask(count, "go")
            if repeat:
                times[count].append(seconds)
    norms = {count: ask(count, "parameters") for count in started}
    for process in started.values():
        process.stdin.close()
        process.wait()
    first = arguments.devices[0]
    rows = [
        {
            "devices": count,
            "member_steps_per_second": round(STEPS * arguments.members / statistics.median(own), 1),
            "faster_than_the_first": round(statistics.median(a / b for a, b in zip(times[first], own, strict=True)), 3),
            "norm_of_parameters": norms[count],
        }
        for count, own in times.items()
    ]
    if arguments.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(
            f"{row['devices']} devices: {row['member_steps_per_second']} member steps/s, "
            f"{row['faster_than_the_first']:.2f} times the first; norm of parameters {row['norm_of_parameters']:.5f}"
        )


if __name__ == "__main__":
    main()
