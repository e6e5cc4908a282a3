"""Does replay cost the same whatever its capacity, and as much as a plain ring of whole transitions?

Each iteration adds one transition and samples a minibatch of 256, inside one compiled loop with donated state. The two
buffers are timed in turn, so that the machine's drift touches both.

    python benchmarks/replay.py [--json]
"""

import argparse
import functools
import json
import statistics
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xinet_jax.agent.replay import Buffer
from xinet_jax.types import Transition

BATCH, ITERATIONS, REPEATS = 256, 2000, 7
CAPACITIES = (1_000, 100_000, 1_000_000)


EMPTY = Transition(jnp.zeros(17), jnp.zeros(6), jnp.zeros(()), jnp.zeros(17), jnp.zeros(()))


class Ring(NamedTuple):
    """The plainest buffer: arrays of whole transitions, and a count."""

    rows: Transition
    added: jax.Array


def ring_init(capacity: int, row: Transition) -> Ring:
    rows = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape)), row)
    return Ring(rows, jnp.int32(0))


def ring_add(state: Ring, row: Transition) -> Ring:
    capacity = state.rows.reward.shape[0]
    rows = jax.tree.map(lambda rows, leaf: rows.at[state.added % capacity].set(leaf), state.rows, row)
    return Ring(rows, state.added + 1)


def ring_sample(state: Ring, key: jax.Array) -> Transition:
    filled = jnp.minimum(state.added, state.rows.reward.shape[0])
    chosen = jax.random.randint(key, (BATCH,), 0, filled)
    return jax.tree.map(lambda rows: rows[chosen], state.rows)


def make_loop(add, sample):
    """Returns a compiled loop of add and sample over a donated state."""

    @functools.partial(jax.jit, donate_argnums=0)
    def loop(state, key):
        def body(i, carry):
            state, total = carry
            state = add(state, jax.tree.map(lambda leaf: leaf + i, EMPTY))
            batch = sample(state, jax.random.fold_in(key, i))
            return state, total + sum(leaf.mean() for leaf in batch)

        return jax.lax.fori_loop(0, ITERATIONS, body, (state, jnp.float32(0)))

    return loop


def measure(capacity: int) -> dict[str, float]:
    """Returns the median microseconds per iteration of each buffer."""
    buffer = Buffer(capacity, BATCH)
    add = lambda state, row: buffer.add(state, row, jnp.bool_(True), state.stored % 1000 == 999)  # noqa: E731
    loops = {"ours": make_loop(add, buffer.sample), "ring": make_loop(ring_add, ring_sample)}
    states = {"ours": jax.tree.map(jnp.copy, buffer.init(17, 6)), "ring": ring_init(capacity, EMPTY)}
    times: dict[str, list[float]] = {name: [] for name in loops}
    for repeat in range(REPEATS + 1):  # the first compiles
        for name, loop in loops.items():
            before = time.perf_counter()
            states[name], total = loop(states[name], jax.random.PRNGKey(repeat))
            total.block_until_ready()
            times[name].append((time.perf_counter() - before) / ITERATIONS * 1e6)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    results = {capacity: measure(capacity) for capacity in CAPACITIES}
    if arguments.json:
        print(json.dumps(results, allow_nan=False))
        return
    print("capacity   ours [us]   ring [us]   ours / ring")
    for capacity, times in results.items():
        ratio = times["ours"] / times["ring"]
        print(f"{capacity:>8}   {times['ours']:>9.1f}   {times['ring']:>9.1f}   {ratio:>11.2f}")


if __name__ == "__main__":
    main()
