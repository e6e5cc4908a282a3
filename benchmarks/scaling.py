"""A model of the time of an update from its FLOPs and bytes, checked against measured updates, then applied elsewhere.

The model has no fitted number: time = FLOPs / (rate of a 256 x 256 x 256 product) + bytes / (bandwidth of elementwise
passes over arrays of the agent's size), both measured in the same run. FLOPs and bytes are XLA's own counts for one
compiled update; the bytes are what all its operations read and write.

    taskset -c 0 python benchmarks/scaling.py [--json]
"""

import argparse
import json
import statistics
import time

import jax
import jax.numpy as jnp

from xinet_jax import agent as agents
from xinet_jax.config import make_config
from xinet_jax.networks.complexity import dense_total
from xinet_jax.networks.modules import make_networks
from xinet_jax.types import Transition

OBSERVATION, ACTION, BATCH, UPDATES, REPEATS, SIDE, PRODUCTS = 17, 6, 256, 20, 9, 256, 200


def scaled(dense, fraction):
    layer = lambda widths: tuple(max(1, round(fraction * width)) for width in widths)  # noqa: E731
    names = ("state_blocks", "action_blocks", "actor_hidden", "critic_hidden")
    return dense._replace(**{name: layer(getattr(dense, name)) for name in names})


def make_case(preset, name, fraction):
    """Returns a compiled loop of updates, its state, and one update's FLOPs and bytes."""
    config = make_config(preset=preset, agent=name)
    agent, hyper = agents.make_agent(config, OBSERVATION, ACTION), agents.make_hyper(config, ACTION)
    agent = agent._replace(networks=make_networks(scaled(agent.dense, fraction)))
    rows = jax.random.normal(jax.random.PRNGKey(1), (BATCH, OBSERVATION))
    batch = Transition(rows, jnp.tanh(rows[:, :ACTION]), rows[:, 0], rows + 0.1, jnp.ones(BATCH))
    key = jax.random.PRNGKey(0)

    def update(state, i):
        return agents.update_weights(agent, hyper, state, batch, jax.random.fold_in(key, i))[0]

    def loop(state):
        return jax.lax.fori_loop(0, UPDATES, lambda i, carry: update(carry, i), state)

    state = agents.init(agent, hyper, key)
    counted = jax.jit(lambda s: update(s, 1)).lower(state).compile().cost_analysis()
    flops, moved = counted["flops"], counted["bytes accessed"]
    left = dense_total(agent.networks.shape, "flops") / dense_total(agent.dense, "flops")
    return jax.jit(loop, donate_argnums=0), state, flops, moved, left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    wanted = [("paper", "ofenet", f) for f in (1.0, 0.7, 0.5, 0.3)] + [("paper", "sac", 1.0), ("paper", "sac", 0.5)]
    wanted += [("quick", "ofenet", f) for f in (1.0, 0.7, 0.5)] + [("quick", "sac", 1.0)]
    cases = {case: make_case(*case) for case in wanted}
    states = {case: made[1] for case, made in cases.items()}

    def product(left, right):
        return jax.lax.fori_loop(0, PRODUCTS, lambda _, carry: jnp.dot(carry, right) * 1e-3, left)

    def elementwise(parts):
        # Four arrays read and three written at every pass.
        body = lambda _, p: (p[0] + 0.1 * p[3], p[1] - p[0], p[2] + p[1], p[3])  # noqa: E731
        return jax.lax.fori_loop(0, PRODUCTS, body, parts)

    square = jax.random.normal(jax.random.PRNGKey(2), (SIDE, SIDE)) / SIDE**0.5
    length = sum(leaf.size for leaf in jax.tree.leaves(states[wanted[0]].params))
    parts = tuple(jnp.full(length, float(k)) for k in range(4))
    product, elementwise = jax.jit(product), jax.jit(elementwise)
    times = {name: [] for name in (*cases, "product", "elementwise")}
    for repeat in range(REPEATS + 1):
        for name, seconds in times.items():
            before = time.perf_counter()
            if name == "product":
                jax.block_until_ready(product(square, square))
            elif name == "elementwise":
                jax.block_until_ready(elementwise(parts))
            else:
                states[name] = jax.block_until_ready(cases[name][0](states[name]))
            taken = time.perf_counter() - before
            if repeat:  # the first compiles
                seconds.append(taken / (PRODUCTS if isinstance(name, str) else UPDATES))
    median = {name: statistics.median(seconds) for name, seconds in times.items()}
    rate, bandwidth = 2.0 * SIDE**3 / median["product"], 7 * 4 * length / median["elementwise"]
    result = {"gflops_per_second": round(rate / 1e9, 1), "gigabytes_per_second": round(bandwidth / 1e9, 1), "cases": []}
    for case, (_, _, flops, moved, left) in cases.items():
        predicted = flops / rate + moved / bandwidth
        row = {"preset": case[0], "agent": case[1], "flops_left": round(left, 3), "gflop": round(flops / 1e9, 4)}
        row |= {"megabytes": round(moved / 1e6, 1), "measured_ms": round(1e3 * median[case], 2)}
        row |= {
            "predicted_ms": round(1e3 * predicted, 2),
            "measured_over_predicted": round(median[case] / predicted, 2),
        }
        result["cases"].append(row)
    if arguments.json:
        print(json.dumps(result, allow_nan=False))
        return
    print(f"{result['gflops_per_second']} GFLOP/s, {result['gigabytes_per_second']} GB/s")
    for row in result["cases"]:
        print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
