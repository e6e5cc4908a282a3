"""How many steps per second does each task take on each engine, beside Gymnasium's vector environments?

Random actions, episodes reset as they end, everything in turn within one process. Gymnasium's asynchronous environment
has a process for each of its environments, so it is run with as many as 16. Ours is the whole step as training takes
it: action scaled, physics, observation, reward, reset.

    taskset -c 0,1 python benchmarks/tasks.py [--task Ant-v5 ...] [--engine native] [--parallel 1 16 128] [--json]
    taskset -c 0,1 python benchmarks/tasks.py --engine mjx [--physics fast] [--mjx-impl warp]
"""

import argparse
import json
import resource
import time
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import numpy as np

from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.engines.loading import quiet_deprecations
from xinet_jax.tasks.registry import in_gymnasium, load_task, task_names

SECONDS, MOST_PROCESSES = 2.0, 16


def rate(run: Callable[[int], None], parallel: int) -> float:
    """Returns steps per second of all environments together."""
    run(2)
    steps, seconds = 0, 0.0
    count = 4
    while seconds < SECONDS:
        before = time.perf_counter()
        run(count)
        took = time.perf_counter() - before
        steps, seconds, count = steps + count, seconds + took, max(1, int(count * min(4.0, 0.5 / max(took, 1e-6))))
    return steps * parallel / seconds


def ours(name: str, engine: str, how: tuple[str, str], parallel: int) -> tuple[Callable[[int], None], float]:
    """Returns what takes steps of all episodes, and the time that it took to compile."""
    task = load_task(name, engine, *how)

    def step(_: int, carry: tuple) -> tuple:
        state, key = carry
        key, key_action, key_reset = jax.random.split(key, 3)
        action = jax.random.uniform(key_action, (task.action_size,), minval=-1.0, maxval=1.0)
        return tasks.step_and_reset(task, state, action, key_reset)[0], key

    keys = jax.random.split(jax.random.PRNGKey(0), parallel)
    carry = jax.jit(jax.vmap(lambda key: (tasks.reset(task, key), key)))(keys)
    before = time.perf_counter()
    # What training compiles for one task's steps, tracing included.
    many = jax.jit(lambda carry, count: jax.lax.fori_loop(0, count, jax.vmap(step, in_axes=(None, 0)), carry))
    compiled = many.lower(carry, 1).compile()
    seconds = time.perf_counter() - before
    return lambda count: jax.block_until_ready(compiled(carry, count)), seconds


def gymnasiums(name: str, mode: str, parallel: int) -> gymnasium.vector.VectorEnv:
    with quiet_deprecations(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gymnasium.make_vec(name, num_envs=parallel, vectorization_mode=mode)


def gymnasium_rate(name: str, mode: str, parallel: int) -> float:
    environments = gymnasiums(name, mode, parallel)
    environments.reset(seed=0)
    actions = np.stack([environments.action_space.sample() for _ in range(16)])

    def run(count: int) -> None:
        for index in range(count):
            environments.step(actions[index % 16])

    steps_per_second = rate(run, parallel)
    environments.close()
    return steps_per_second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", default=list(filter(in_gymnasium, task_names())), help="tasks")
    parser.add_argument("--engine", nargs="+", default=["native"], help="engines")
    parser.add_argument("--mjx-impl", default="jax", help="implementation of MJX: jax or warp")
    parser.add_argument("--physics", default="exact", help="exact or fast")
    parser.add_argument("--parallel", nargs="+", type=int, default=[1, 16, 128, 1024], help="environments")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    arguments = parser.parse_args()
    if arguments.mjx_impl != "jax" and arguments.engine != ["mjx"]:
        parser.error("--mjx-impl is for --engine mjx alone")
    if not arguments.json:
        print(
            "| task | in parallel | "
            + " | ".join(arguments.engine)
            + " | Gymnasium, synchronous | asynchronous | ours / best | compile | memory |"
        )
        print("|---|" + "---|" * (len(arguments.engine) + 6))
    for name in arguments.task:
        for parallel in arguments.parallel:
            row: dict[str, Any] = {"task": name, "parallel": parallel}
            for engine in arguments.engine:
                how = (arguments.mjx_impl, arguments.physics)
                run, row[f"{engine}_compile_seconds"] = ours(name, engine, how, parallel)
                row[engine] = rate(run, parallel)
            row["sync"] = gymnasium_rate(name, "sync", parallel)
            row["async"] = gymnasium_rate(name, "async", parallel) if parallel <= MOST_PROCESSES else None
            row["ratio"] = max(row[engine] for engine in arguments.engine) / max(row["sync"], row["async"] or 0.0)
            row["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            if arguments.json:
                print(json.dumps(row, allow_nan=False), flush=True)
                continue
            rates = [f"{row[key]:,.0f}" if row[key] else "not run" for key in (*arguments.engine, "sync", "async")]
            more = (
                f"{max(row[f'{engine}_compile_seconds'] for engine in arguments.engine):.0f} s | "
                f"{row['megabytes']:,.0f} MB"
            )
            print(f"| {name} | {parallel} | " + " | ".join(rates) + f" | {row['ratio']:.2f} | {more} |", flush=True)


if __name__ == "__main__":
    main()
