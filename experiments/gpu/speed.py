"""Rates of updates and of whole training steps on a GPU, by members, sizes, precision and engine.

Rates are member-steps per second: steps per second of the program times its members. The parts:

- updates: plain SAC at 64-64 with batches of 128 and at 256-256 with batches of 256, beside rejax's, each in a loop of
  updates on one minibatch. rejax's users get JAX's default precision; so both are measured.
- train: whole steps of the training program (act, physics, store, sample, update) on HalfCheetah, by preset, share of
  the units, precision, engine and members. "no physics" has a stand-in in its place.
- physics: steps of the task alone, from random actions.
"""

import contextlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import peers
from benchmarks.no_physics import without_physics
from experiments.gpu import kernels
from experiments.gpu.workers import Part, Worker
from xinet_jax.config import make_config
from xinet_jax.networks.modules import Shape, make_networks
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.registry import load_task
from xinet_jax.training import members, setup

TASK = "HalfCheetah-v5"
REPEATS, SECONDS = 3, 0.4  # of each timing


def timed(loop: Callable, state: object, count: int) -> dict[str, float]:
    """Returns the rate of a program `(state, length) -> state` of `count` members that `compiled` has run."""
    length, repeats = 4, []
    while True:
        before = time.perf_counter()
        state = jax.block_until_ready(loop(state, length))
        seconds = time.perf_counter() - before
        if seconds > SECONDS / 4 or length >= 20_000:
            break
        length *= 4
    length = max(1, int(length * SECONDS / seconds))
    for _ in range(REPEATS):
        before = time.perf_counter()
        state = jax.block_until_ready(loop(state, length))
        repeats.append((time.perf_counter() - before) / length)
    step = float(np.median(repeats))
    return {"rate": count / step, "milliseconds": 1e3 * step, "slowest": 1e3 * max(repeats), "steps": length}


def compiled(loop: Callable, state: object) -> tuple[object, float]:
    """Returns a program's state after three runs, and the seconds that the first took.

    Types of the state may be weak at first, and of some of it for longer: then later runs compile again.
    """
    before = time.perf_counter()
    state = jax.block_until_ready(loop(state, 1))
    first = time.perf_counter() - before
    for _ in range(2):
        state = jax.block_until_ready(loop(state, 1))
    return state, first


def memory() -> float | None:
    """Returns the most memory that was in use so far, where the device says it [GB]."""
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return peak and peak / 1e9


def updates(library: str, precision: str, hidden: tuple[int, ...], size: int, count: int) -> Callable:
    """Prepares a loop of updates of one library's SAC."""
    make = partial(peers.ours, precision=precision) if library == "ours" else peers.rejax
    update, start = make(hidden, size)
    precision = "highest" if library == "ours" else precision
    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *jnp.shape(leaf))) + 0, start)
    body = lambda i, states: jax.vmap(partial(update, i))(states)  # noqa: E731
    loop = jax.jit(lambda states, length: jax.lax.fori_loop(0, length, body, states), donate_argnums=0)
    with jax.default_matmul_precision(precision):
        state, _ = compiled(loop, state)

    def measure() -> dict[str, float]:
        with jax.default_matmul_precision(precision):
            return timed(loop, state, count)

    return measure


def train(
    preset: str = "paper",
    left: float = 1.0,
    count: int = 64,
    precision: str = "float32",
    agent: str = "ofenet",
    engine: str = "native",
    implementation: str = "jax",
    physics: bool = True,
    trace: Path | None = None,
) -> Callable:
    """Prepares whole training steps, with a share of the units of every layer."""
    settings = {"preset": preset, "engine": engine, "seeds": count, "devices": 1, "replay_capacity": 20_000}
    settings |= {"mjx_impl": implementation} if engine == "mjx" else {}
    config = make_config(TASK, agent=agent, steps=10**6, **settings)
    with contextlib.nullcontext() if physics else without_physics():
        ready = setup.prepare(config, members.identities(config))
    shape = ready.agent.networks.shape
    narrow = {
        name: tuple(max(1, round(left * width)) for width in value)
        for name, value in shape._asdict().items()
        if isinstance(value, tuple)
    }
    shape = Shape(**shape._asdict() | narrow)
    ready = ready.with_agent(ready.agent._replace(networks=make_networks(shape, precision)))
    loop = lambda state, length: ready.program.train(ready.hyper, state, 30_000, length, 30_000)[0]  # noqa: E731
    before = time.perf_counter()
    state = jax.block_until_ready(ready.program.init(ready.hyper, ready.seeds))
    first = {"first_init": time.perf_counter() - before}
    state, first["first_train"] = compiled(loop, state)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.agent.params)) // count

    def measure() -> dict[str, object]:
        kept = jax.tree.map(jnp.copy, state)
        figures = timed(loop, state, count) | first | {"parameters": parameters, "peak_gigabytes": memory()}
        if trace is not None:
            figures |= kernels.traced(lambda: loop(kept, kernels.TRACED), trace)
        return figures

    return measure


def physics(engine: str, count: int, implementation: str = "jax") -> Callable:
    """Prepares steps of the task alone."""
    if engine == "callback":  # MuJoCo in C, called by `jax.pure_callback`: for the rest of the process
        jax.lax.platform_dependent = lambda *arguments, default, **_: default(*arguments)
        engine = "native"
    task = load_task(TASK, engine, implementation) if engine == "mjx" else load_task(TASK, engine)
    keys = jax.random.split(jax.random.PRNGKey(0), count)
    state = jax.jit(jax.vmap(partial(tasks.reset, task)))(keys)

    def step(key, state):
        action = jax.random.uniform(key, (task.action_size,), minval=-1.0, maxval=1.0)
        return tasks.step_and_reset(task, state, action, key)[0]

    body = lambda i, state: jax.vmap(step)(jax.random.split(jax.random.PRNGKey(i), count), state)  # noqa: E731
    loop = jax.jit(lambda state, length: jax.lax.fori_loop(0, length, body, state), donate_argnums=0)
    with jax.default_matmul_precision("highest"):
        state, first = compiled(loop, state)

    def measure() -> dict[str, float]:
        with jax.default_matmul_precision("highest"):
            return timed(loop, state, count) | {"first_call": first}

    return measure


def workers(most: int = 1024, warp: bool = False, traces: Path | None = None) -> list[Worker]:
    """Returns what is measured, by process.

    Args:
      most: larger numbers of members are left out.
      warp: MuJoCo Warp alone.
      traces: a folder for profiles of some programs.
    """
    counts = lambda *several: [count for count in several if count <= most]  # noqa: E731
    middle = min(64, most)
    if warp:
        return [
            Worker([Part(f"physics warp {n}", partial(physics, "mjx", n, "warp")) for n in counts(64, 1024)]),
            Worker(
                [Part(f"train paper warp {middle}", partial(train, count=middle, engine="mjx", implementation="warp"))]
            ),
        ]

    def trained(label: str, **settings) -> Part:
        settings = {"count": middle} | settings
        name = f"train {settings.get('preset', 'paper')} {label} {settings['count']}"
        file = traces and traces / f"{name.replace(' ', '_')}.xplane.pb.gz"
        settings |= {"trace": file} if settings.pop("traced", False) else {}
        return Part(name, partial(train, **settings))

    flags = lambda *several: {"XLA_FLAGS": " ".join(f"--xla_gpu_{flag}" for flag in several)}  # noqa: E731
    cublas, triton = flags("enable_triton_gemm=false"), flags("enable_triton_gemm=true")
    peer_workers = []
    for library, precision, environment in (
        ("ours", "float32", cublas),
        ("rejax", "highest", cublas),
        ("rejax", "default", {}),
        ("ours", "tensorfloat32", cublas),
    ):
        for hidden, size in (((64, 64), 128), ((256, 256), 256)):
            parts = [
                Part(
                    f"updates {library} {hidden[0]} {precision} {n}",
                    partial(updates, library, precision, hidden, size, n),
                )
                for n in counts(1, 64, 300)
            ]
            peer_workers.append(Worker(parts, environment))
    x3, tf32, alone = {"precision": "tensorfloat32x3"}, {"precision": "tensorfloat32"}, {"physics": False}
    return [
        Worker([trained("float32", traced=True)]),
        Worker([trained("half the units", left=0.5)]),
        Worker([trained("float32 alone", **alone)]),
        Worker([trained("tensorfloat32", **tf32, traced=True)]),
        Worker([trained("bfloat16", precision="bfloat16")]),
        Worker([trained("x3 tuned alone", **x3, **alone, traced=True)], triton),
        *peer_workers,
        Worker([trained("xinet", agent="xinet")]),
        Worker([trained("float32", count=n) for n in counts(256)]),
        Worker([trained("float32", count=n) for n in counts(1024)]),
        Worker([trained("float32", count=n) for n in counts(1, 8)]),
        Worker([trained("quick float32", preset="quick", count=n) for n in counts(64, 1024)]),
        Worker([Part(f"physics native {n}", partial(physics, "native", n)) for n in counts(1, 64, 1024)]),
        Worker([Part(f"physics mjx {n}", partial(physics, "mjx", n)) for n in counts(64, 1024)], cublas),
        Worker([Part(f"physics callback {n}", partial(physics, "callback", n)) for n in counts(1, 64, 1024)], cublas),
        Worker(
            [trained("x3 untuned alone", **x3, **alone, traced=True)],
            flags("enable_triton_gemm=true", "autotune_level=0"),
        ),
        Worker([trained("x3 cublas alone", **x3, **alone)], cublas),
        Worker(
            [trained("tensorfloat32 untuned alone", **tf32, **alone)],
            flags("enable_triton_gemm=true", "autotune_level=0"),
        ),
        Worker([trained("no command buffers", **alone)], flags("enable_command_buffer=")),
    ]
