"""How much faster are updating and acting when part of the FLOPs is gone?

The dense sizes and the same fraction of every layer that leaves about 50, 25 and 10% of the FLOPs, in arrays of just
that size, as after a compaction. Acting is the policy's mode for a batch of 256 observations. In turn, medians of
ratios.

    taskset -c 0 python benchmarks/pruned.py [--preset paper] [--json]
"""

import argparse
import json
import statistics
import time

import jax
import jax.numpy as jnp

from xinet_jax import agent as agents
from xinet_jax.config import make_config
from xinet_jax.networks import complexity
from xinet_jax.networks.modules import make_networks
from xinet_jax.types import Transition

OBSERVATION, ACTION, UPDATES, ACTS, REPEATS = 17, 6, 20, 200, 9
SHARES = (1.0, 0.5, 0.25, 0.1)


def with_share(dense, share):
    """Returns the sizes whose layers are the same fraction of the dense ones, with a share of the FLOPs."""

    def scaled(fraction):
        layer = lambda widths: tuple(max(1, round(fraction * width)) for width in widths)  # noqa: E731
        names = ("state_blocks", "action_blocks", "actor_hidden", "critic_hidden")
        return dense._replace(**{name: layer(getattr(dense, name)) for name in names})

    fractions = [step / 200 for step in range(1, 201)]
    return min(map(scaled, fractions), key=lambda shape: abs(left(dense, shape) - share))


def left(dense, shape):
    return complexity.dense_total(shape, "flops") / complexity.dense_total(dense, "flops")


def make_loops(agent, hyper, batch):
    """Returns compiled loops of updates (state donated) and of actions, and a state."""
    key = jax.random.PRNGKey(0)

    def update(state):
        body = lambda i, carry: agents.update_weights(agent, hyper, carry, batch, jax.random.fold_in(key, i))[0]  # noqa: E731
        return jax.lax.fori_loop(0, UPDATES, body, state)

    def act(state, observation):
        # Each action's input depends on the one before, so that none is left out.
        body = lambda _, inputs: inputs + 1e-6 * agents.act(agent, state, inputs, None)[:, :1]  # noqa: E731
        return jax.lax.fori_loop(0, ACTS, body, observation)

    return jax.jit(update, donate_argnums=0), jax.jit(act), agents.init(agent, hyper, key)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="paper", help="quick or paper")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    config = make_config(agent="ofenet", preset=arguments.preset)
    agent, hyper = agents.make_agent(config, OBSERVATION, ACTION), agents.make_hyper(config, ACTION)
    rows = jax.random.normal(jax.random.PRNGKey(1), (config.sac.batch_size, OBSERVATION))
    batch = Transition(rows, jnp.tanh(rows[:, :ACTION]), rows[:, 0], rows + 0.1, jnp.ones(len(rows)))
    shapes = {share: with_share(agent.dense, share) for share in SHARES}
    made = {s: make_loops(agent._replace(networks=make_networks(shape)), hyper, batch) for s, shape in shapes.items()}
    states = {share: state for share, (_, _, state) in made.items()}
    times = {(share, what): [] for share in SHARES for what in ("update", "act")}
    for repeat in range(REPEATS + 1):
        for share, (update, act, _) in made.items():
            before = time.perf_counter()
            states[share] = jax.block_until_ready(update(states[share]))
            between = time.perf_counter()
            jax.block_until_ready(act(states[share], rows))
            after = time.perf_counter()
            if repeat:  # the first compiles
                times[share, "update"].append((between - before) / UPDATES)
                times[share, "act"].append((after - between) / ACTS)
    result = []
    for share, shape in shapes.items():
        row = {"flops_left": round(left(agent.dense, shape), 3)}
        for what in ("update", "act"):
            ratios = (a / b for a, b in zip(times[1.0, what], times[share, what], strict=True))
            row[f"{what}_microseconds"] = round(1e6 * statistics.median(times[share, what]), 1)
            row[f"{what}_faster"] = round(statistics.median(ratios), 2)
        row["share_times_update_faster"] = round(row["flops_left"] * row["update_faster"], 2)
        result.append(row)
    if arguments.json:
        print(json.dumps(result, allow_nan=False))
        return
    for row in result:
        print(
            f"{row['flops_left']:.0%} of the FLOPs: update {row['update_microseconds'] / 1e3:.2f} ms "
            f"({row['update_faster']:.2f} times the dense speed, {row['share_times_update_faster']:.2f} / share), "
            f"acting {row['act_microseconds']:.0f} us ({row['act_faster']:.2f} times)"
        )


if __name__ == "__main__":
    main()
