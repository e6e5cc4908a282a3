"""On CPUs, are devices of one core each faster than one device of all cores, for the same members? And processes?

The training phase of `xinet train` (quick preset, native physics) for eight members: on one device of all cores, on
several devices of one core each, and shared by processes of one core each. Every set-up has processes of its own, since
devices are fixed when JAX starts; the set-ups take turns. The ratio is the first set-up's time over each one's.

    taskset -c 0,1 python benchmarks/devices.py [--devices 1 2] [--processes 2] [--members 8] [--json]
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time

REPEATS, STEPS = 7, 30


def child(count: int, members: int) -> None:
    """Answers every line on standard input with a number: the seconds that some steps of its members took."""
    import jax
    import numpy as np

    from xinet_jax.training import processes
    from xinet_jax.training.devices import claim_cores, make_mesh, pad, spread

    processes.join(False)
    claim_cores(count, members)
    from xinet_jax import agent as agents
    from xinet_jax.agent.replay import Buffer
    from xinet_jax.config import make_config
    from xinet_jax.tasks.registry import load_task
    from xinet_jax.training import members as of_run
    from xinet_jax.training.program import make_program

    if jax.process_count() > 1:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[jax.process_index() % len(cores)]})
    config = make_config(seeds=members, engine="native", prune_start=20_000, prune_stop=None)
    identities = processes.local_members(of_run.identities(config))
    task, mesh = load_task(config.task, config.engine), make_mesh(min(count, len(identities)), len(identities))
    agent = agents.make_agent(config, task.observation_size, task.action_size, task.predicted_size)
    program = make_program(agent, task, Buffer(config.steps, config.sac.batch_size), 1, mesh)
    everyone = pad(identities, mesh)
    hyper = spread(of_run.hyper_of_members(config, task.action_size, everyone), mesh)
    state = program.init(hyper, spread(of_run.seeds_of_members(everyone), mesh))
    state, _ = program.collect(state, 300)
    state, _ = program.train(hyper, state, 300, 2, 0)
    for line in sys.stdin:
        if line.strip() == "parameters":
            leaves = [np.asarray(leaf)[: len(identities)] for leaf in jax.tree.leaves(state.agent.params)]
            print(float(sum(np.square(leaf).sum() for leaf in leaves)), flush=True)
            continue
        before = time.perf_counter()
        state, tally = program.train(hyper, state, 300, STEPS, 0)
        jax.block_until_ready(tally)
        print(time.perf_counter() - before, flush=True)
    processes.leave()


class SetUp:
    """The processes of one way to train the members."""

    def __init__(self, name: str, processes: int, devices: int, members: int):
        self.name, self.seconds = name, []
        command = [sys.executable, __file__, "--members", str(members), "--child", str(devices)]
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        shared = {"JAX_COORDINATOR_ADDRESS": f"localhost:{port}", "JAX_NUM_PROCESSES": str(processes)}
        self.processes = [
            subprocess.Popen(
                command,
                env=os.environ | ({} if processes == 1 else shared | {"JAX_PROCESS_ID": str(index)}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for index in range(processes)
        ]

    def ask(self, line: str) -> list[float]:
        """Asks all its processes at once, and returns their answers."""
        for process in self.processes:
            process.stdin.write(line + "\n")
            process.stdin.flush()
        answers = [process.stdout.readline() for process in self.processes]
        if not all(answers):
            raise SystemExit(f"{self.name} ended early")
        return list(map(float, answers))

    def close(self) -> None:
        """Lets its processes end."""
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2], help="numbers of devices")
    parser.add_argument("--processes", type=int, nargs="*", default=[2], help="numbers of processes")
    parser.add_argument("--members", type=int, default=8, help="number of members")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.members)
        return
    set_ups = [SetUp(f"{count} devices", 1, count, arguments.members) for count in arguments.devices]
    set_ups += [SetUp(f"{count} processes", count, 1, arguments.members) for count in arguments.processes]
    for repeat in range(REPEATS + 1):
        for set_up in set_ups:
            seconds = max(set_up.ask("go"))
            if repeat:
                set_up.seconds.append(seconds)
    first, rows = set_ups[0].seconds, []
    for set_up in set_ups:
        ratio = statistics.median(a / b for a, b in zip(first, set_up.seconds, strict=True))
        rows.append(
            {
                "set_up": set_up.name,
                "member_steps_per_second": round(STEPS * arguments.members / statistics.median(set_up.seconds), 1),
                "faster_than_the_first": round(ratio, 3),
                "norm_of_parameters": sum(set_up.ask("parameters")) ** 0.5,
            }
        )
    for set_up in set_ups:
        set_up.close()
    if arguments.json:
        print(json.dumps(rows, allow_nan=False))
        return
    for row in rows:
        print(
            f"{row['set_up']}: {row['member_steps_per_second']} member steps/s, "
            f"{row['faster_than_the_first']:.2f} times the first; norm of parameters {row['norm_of_parameters']:.5f}"
        )


if __name__ == "__main__":
    main()
