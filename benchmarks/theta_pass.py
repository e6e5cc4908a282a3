"""What share of an update's time goes into theta's own pass, and what do open gates cost?

One update of the dense agent, of XiNet when theta is not due, and of XiNet when it is, in turn, with donated state.
The pass is due at every `theta_every`-th update: its share is its extra time divided by that, beside an update without.

    python benchmarks/theta_pass.py [--preset quick] [--json]
"""

import argparse
import json
import statistics
import time

import jax
import jax.numpy as jnp

from xinet_jax import agent as agents
from xinet_jax.config import make_config
from xinet_jax.replay import Transition

OBSERVATION, ACTION, UPDATES, REPEATS = 17, 6, 40, 9
EVERY = (1, 2, 4, 8)


def make_loop(config):
    """Returns a compiled loop of updates past prune_start, and its state. Theta is due if the first update is 0."""
    agent = agents.make_agent(config, OBSERVATION, ACTION)
    hyper = agents.make_hyper(config, ACTION)
    key = jax.random.PRNGKey(0)
    size = config.sac.batch_size
    rows = jax.random.normal(key, (size, OBSERVATION))
    batch = Transition(rows, jnp.tanh(rows[:, :ACTION]), rows[:, 0], rows + 0.1, jnp.ones(size))

    def loop(state, first_update):
        def body(i, state):
            step_key = jax.random.fold_in(key, i)
            return agents.update(agent, hyper, state, batch, step_key, 10**6, first_update + i * 1000)[0]

        return jax.lax.fori_loop(0, UPDATES, body, state)

    return jax.jit(loop, donate_argnums=0), agents.init(agent, hyper, key)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="quick", help="quick or paper")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    gated = ("ofenet", "actor", "critic")
    # No step at all, so that nothing is pruned while the clock runs.
    settings = {
        "preset": arguments.preset,
        "gated": gated,
        "theta_every": 1000,
        "theta_learning_rate": 0.0,
        "prune_stop": None,
    }
    xinet, state_xinet = make_loop(make_config(**settings))
    dense, state_dense = make_loop(make_config(preset=arguments.preset, agent="ofenet"))
    timed = {"dense": (dense, state_dense, 1), "gates": (xinet, state_xinet, 1), "gates and pass": (xinet, None, 0)}
    times = {name: [] for name in timed}
    states = {"dense": state_dense, "xinet": state_xinet}
    for repeat in range(REPEATS + 1):
        for name, (loop, _, first_update) in timed.items():
            which = "dense" if name == "dense" else "xinet"
            before = time.perf_counter()
            states[which] = jax.block_until_ready(loop(states[which], first_update))
            if repeat:  # the first compiles
                times[name].append((time.perf_counter() - before) / UPDATES)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    extra = seconds["gates and pass"] - seconds["gates"]
    result = {
        "milliseconds": {name: round(1e3 * value, 3) for name, value in seconds.items()},
        "gates_over_dense": round(seconds["gates"] / seconds["dense"], 3),
        "share_of_an_update": {every: round(extra / every / seconds["gates"], 3) for every in EVERY},
    }
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result["milliseconds"].items():
        print(f"{name:>16}: {value:.2f} ms an update")
    print(f"gates alone over dense: {result['gates_over_dense']:.2f}")
    for every, share in result["share_of_an_update"].items():
        print(f"theta every {every}: its pass takes {share:.1%} of an update's time on top")


if __name__ == "__main__":
    main()
