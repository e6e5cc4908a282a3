"""How fast are updates and whole training steps on a GPU, by members, sizes and engine?

    python -m experiments.gpu.speed [--seconds 360] [--out experiments/gpu/results]

Each part writes a line of `speed.jsonl` when it ends, small programs first; what a part raises is its result. Rates are
member-steps per second: steps per second of the program times its members. The parts:

- updates: plain SAC at 64-64 with batches of 128 and at 256-256 with batches of 256, beside rejax's where it is
  installed, each in a loop of updates on one minibatch, in turn
- train: whole steps of the training program (act, physics, store, sample, update) of the dense agent, as xinet takes
  them where neither theta nor pruning is due: HalfCheetah, by preset, share of the units, engine and members
"""

import argparse
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import peers
from experiments.gpu.report import Report
from xinet_jax.config import make_config
from xinet_jax.networks.modules import Shape
from xinet_jax.training import members, setup

REPEATS = 5
TASK = "HalfCheetah-v5"


def median_seconds(function, state):
    """Returns the seconds that the first call takes, the median of later ones, and the state."""
    before = time.perf_counter()
    state = jax.block_until_ready(function(state))
    first, later = time.perf_counter() - before, []
    for _ in range(REPEATS):
        before = time.perf_counter()
        state = jax.block_until_ready(function(state))
        later.append(time.perf_counter() - before)
    return first, float(np.median(later)), state


def memory():
    """Returns the most memory that was in use so far, where the device says it [bytes]."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def updates(make, hidden, size, count, length=200):
    """Returns the rate of updates of one library's SAC."""
    update, start = make(hidden, size)
    states = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *jnp.shape(leaf))) + 0, start)
    body = lambda i, states: jax.vmap(partial(update, i))(states)  # noqa: E731
    loop = jax.jit(lambda states: jax.lax.fori_loop(0, length, body, states), donate_argnums=0)
    with jax.default_matmul_precision("highest"):
        first, seconds, _ = median_seconds(loop, states)
    return {"rate": count * length / seconds, "milliseconds": 1e3 * seconds / length, "first_call": first}


def train(preset, widths_left, engine, count, length, implementation="jax"):
    """Returns the rate of whole training steps, with a share of the units of every layer."""
    settings = {"preset": preset, "engine": engine, "seeds": count, "devices": 1, "replay_capacity": 20_000}
    settings |= {"mjx_impl": implementation} if engine == "mjx" else {}
    config = make_config(TASK, agent="ofenet", steps=10**6, **settings)
    ready = setup.prepare(config, members.identities(config))
    shape = ready.agent.networks.shape
    if widths_left < 1:
        narrow = {
            name: tuple(max(1, round(widths_left * width)) for width in value)
            for name, value in shape._asdict().items()
            if isinstance(value, tuple)
        }
        ready = setup.prepare(config, members.identities(config), Shape(**shape._asdict() | narrow))
    state = ready.program.init(ready.hyper, ready.seeds)
    state, _ = ready.program.collect(state, 300)
    loop = lambda state: ready.program.train(ready.hyper, state, 300, length, 0)[0]  # noqa: E731
    first, seconds, state = median_seconds(loop, state)
    return {
        "rate": count * length / seconds,
        "milliseconds": 1e3 * seconds / length,
        "first_call": first,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.agent.params)) // count,
        "peak_bytes": memory(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=360, help="no part begins after this")
    parser.add_argument("--out", type=Path, default=Path("experiments/gpu/results"))
    parser.add_argument("--members", type=int, nargs="+", default=[64, 256, 8, 1024, 1])
    parser.add_argument("--steps", type=int, default=200, help="of the program in each timing")
    options = parser.parse_args()
    report = Report(options.out / "speed.jsonl", options.seconds)
    for count in [count for count in (1, 64, 300) if count <= max(options.members)]:
        for hidden, size in (((64, 64), 128), ((256, 256), 256)):
            for name, make in (("ours", peers.ours), ("rejax", peers.rejax)):
                part = partial(updates, make, hidden, size, count, options.steps)
                report.part(f"updates {name} {hidden[0]} {count}", part)
    for preset, count in [(preset, count) for count in options.members for preset in ("quick", "paper")]:
        for widths_left in (1.0, 0.5):  # half of the units: about a quarter of the FLOPs
            part = partial(train, preset, widths_left, "native", count, options.steps)
            report.part(f"train {preset} {widths_left:g} native {count}", part, least=45)
    for implementation, count in [(i, count) for i in ("warp", "jax") for count in options.members]:
        part = partial(train, "paper", 1.0, "mjx", count, min(options.steps, 50), implementation)
        report.part(f"train paper 1 mjx-{implementation} {count}", part, least=90)


if __name__ == "__main__":
    main()
