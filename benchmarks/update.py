"""How near does one update come to the machine's best float32 matrix product, and what do the gates add?

One update of dense OFENet-SAC at the published HalfCheetah size (8 blocks of 30, heads 256-256, batch 256), of XiNet
with every network gated (without theta's own pass: `theta_pass.py` has that), and of plain SAC 256-256, in turn with
products of 2048 x 2048 matrices. FLOPs are XLA's own count of one compiled update.

    taskset -c 0 python benchmarks/update.py [--preset paper] [--batch-size 256] [--json]
"""

import argparse
import json
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from xinet_jax import agent as agents
from xinet_jax.config import make_config
from xinet_jax.types import Transition

OBSERVATION, ACTION, UPDATES, REPEATS, SIDE = 17, 6, 20, 9, 2048


def transitions(key, size):
    rows = jax.random.normal(key, (size, OBSERVATION))
    return Transition(rows, jnp.tanh(rows[:, :ACTION]), rows[:, 0], rows + 0.1, jnp.ones(size))


def make_loop(config):
    """Returns a compiled loop of updates with donated state, its state, and the FLOPs of one update."""
    agent = agents.make_agent(config, OBSERVATION, ACTION)
    hyper = agents.make_hyper(config, ACTION)
    key = jax.random.PRNGKey(0)
    batch = transitions(key, config.sac.batch_size)

    def update(state, key):
        return agents.update_weights(agent, hyper, state, batch, key)[0]

    def loop(state):
        body = lambda i, carry: update(carry, jax.random.fold_in(key, i))  # noqa: E731
        return jax.lax.fori_loop(0, UPDATES, body, state)

    state = agents.init(agent, hyper, key)
    flops = jax.jit(lambda s: update(s, key)).lower(state).compile().cost_analysis()["flops"]
    return jax.jit(loop, donate_argnums=0), state, flops


def seconds(function):
    before = time.perf_counter()
    result = jax.block_until_ready(function())
    return time.perf_counter() - before, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="paper", help="quick or paper")
    parser.add_argument("--batch-size", type=int, default=256, help="transitions per update")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    settings = {"preset": arguments.preset, "batch_size": arguments.batch_size}
    configs = {
        "dense": make_config(agent="ofenet", **settings),
        "gates": make_config(**settings),
        "sac": make_config(agent="sac", **settings),
    }
    loops = {name: make_loop(config) for name, config in configs.items()}
    states = {name: state for name, (_, state, _) in loops.items()}
    square = jax.random.normal(jax.random.PRNGKey(1), (SIDE, SIDE))
    host_square = np.asarray(square)
    product = jax.jit(jnp.dot)
    times = {name: [] for name in (*loops, "product", "numpy")}
    for repeat in range(REPEATS + 1):
        taken = {"product": seconds(lambda: product(square, square))[0]}
        taken["numpy"] = seconds(lambda: host_square @ host_square)[0]
        for name, (loop, _, _) in loops.items():
            taken[name], states[name] = seconds(lambda loop=loop, name=name: loop(states[name]))
        if repeat:  # the first compiles
            for name, duration in taken.items():
                times[name].append(duration / (UPDATES if name in loops else 1))
    median = {name: statistics.median(durations) for name, durations in times.items()}
    peak = 2.0 * SIDE**3 / min(median["product"], median["numpy"])
    result = {"peak_gflops_per_second": round(peak / 1e9, 1)}
    for name, (_, _, flops) in loops.items():
        result[name] = {
            "milliseconds": round(1e3 * median[name], 2),
            "gflops": round(flops / 1e9, 3),
            "share_of_peak": round(flops / median[name] / peak, 3),
        }
    ratios = [gates / dense for gates, dense in zip(times["gates"], times["dense"], strict=True)]
    result["gates_over_dense"] = round(statistics.median(ratios), 3)
    if arguments.json:
        print(json.dumps(result, allow_nan=False))
        return
    print(f"best matrix product: {result['peak_gflops_per_second']} GFLOP/s")
    for name in loops:
        row = result[name]
        print(f"{name:>6}: {row['milliseconds']} ms, {row['gflops']} GFLOP, {row['share_of_peak']:.0%} of the best")
    print(f"gates over dense: {result['gates_over_dense']:.3f}")


if __name__ == "__main__":
    main()
