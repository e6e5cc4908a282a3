"""Does everything run on a GPU, and compute what it computes on a CPU?

The parts:

- physics: one step from the same state, against Gymnasium's own environment, in each engine
- in two: physics that the host computes while the device does other work, against physics in one call
- products: the error of float32 products of the agent's sizes, beside float64
- update: an agent's update on the device and on the CPU, from the same state and transitions
- company: ten updates of a member alone and among eight
- compaction: what agents compute, and ten updates, before and after half of their units are taken out
- resume: a run that is interrupted and resumed, against one that is not, bit by bit
- policy: a policy saved on the device, run by numpy on the host
"""

import dataclasses
import shutil
import tempfile
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import xinet_jax
from benchmarks.parity import differences
from benchmarks.update import transitions
from experiments.gpu.workers import Part, Worker
from xinet_jax import agent as agents
from xinet_jax.config import make_config
from xinet_jax.pruning import compaction
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.registry import load_task
from xinet_jax.training import checkpoints, members, setup

SIZES = {"blocks": 2, "block_units": 20, "actor_hidden": (32, 32), "critic_hidden": (32, 32), "batch_size": 64}
RULES = {"gated": ("ofenet", "actor", "critic"), "prune_start": 60, "prune_ramp": 0, "prune_every": 20}
SHORT = {"steps": 200, "random_steps": 50, "pretrain_updates": 20, "eval_every": 100, "log_every": 50}
SHORT |= {"eval_episodes": 2, "final_episodes": 2, "checkpoint_every": 100, "checkpoint_keep": 9}


def small_config(**changes):
    """Returns a configuration of a small dense agent, or of what `changes` say."""
    return make_config("HalfCheetah-v5", **(SIZES | SHORT | {"agent": "ofenet"} | changes))


def pruning_config(**changes):
    return small_config(**(RULES | {"agent": "xinet", "prune_stop": None} | changes))


def largest(ours, theirs):
    """Returns the largest difference of two trees' arrays, relative to the norm of each."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
    return max(float(np.linalg.norm(a - b) / (np.linalg.norm(b) + 1e-12)) for a, b in pairs if a.size)


def physics(engine):
    compared = differences("HalfCheetah-v5", engine, steps=50)["differences"]
    return {what: {"median": float(np.median(error)), "max": float(error.max())} for what, error in compared.items()}


def in_two():
    """Steps whose physics is asked for before and taken after other work must be the steps of one call, bit by bit."""
    task = load_task("HalfCheetah-v5", "native")
    start = jax.jit(jax.vmap(partial(tasks.reset, task)))(jax.random.split(jax.random.PRNGKey(0), 8))

    def step(two, key, state):
        action = jax.random.uniform(key, (task.action_size,), minval=-1.0, maxval=1.0)
        if not two:
            return tasks.step(task, state, action)[0]
        begun, matrix = tasks.begin_step(task, state, action), jnp.outer(jnp.arange(300.0), action[:1].repeat(300))
        work = jnp.linalg.norm(jnp.tanh(matrix @ matrix))
        return tasks.step(task, state, action, begun + 0.0 * work)[0]

    def run(two):
        body = lambda i, state: jax.vmap(partial(step, two))(jax.random.split(jax.random.PRNGKey(i), 8), state)  # noqa: E731
        return jax.jit(lambda state: jax.lax.fori_loop(0, 100, body, state))(start).observation

    different = int((run(True) != run(False)).sum())
    if different:
        raise AssertionError(f"{different} numbers differ")
    return {"different": different}


def products():
    errors = {}
    for rows, inputs, units in ((256, 257, 256), (256, 503, 256), (256, 263, 240)):
        key_a, key_b = jax.random.split(jax.random.PRNGKey(inputs))
        a, b = jax.random.normal(key_a, (64, rows, inputs)), jax.random.normal(key_b, (64, inputs, units))
        exact = np.asarray(a, np.float64) @ np.asarray(b, np.float64)
        for precision in ("HIGHEST", "TF32_TF32_F32_X3", "TF32_TF32_F32"):
            name = f"{inputs}x{units} {precision}"
            chosen = jax.lax.Precision.HIGHEST if precision == "HIGHEST" else jax.lax.DotAlgorithmPreset[precision]
            try:
                product = jax.jit(partial(jnp.matmul, precision=chosen))(a, b)
                errors[name] = float(np.sqrt(np.mean(np.square(np.asarray(product, np.float64) - exact))))
            except Exception as error:  # not every device has every algorithm
                errors[name] = str(error).splitlines()[0][:200]
    return errors


def one_agent():
    config = pruning_config()
    agent, hyper = agents.make_agent(config, 17, 6), agents.make_hyper(config, 6)
    return agent, hyper, agents.init(agent, hyper, jax.random.PRNGKey(0))


def ten_updates(agent, hyper, state, theta=True):
    """Returns an agent's state after ten updates of its weights and, if asked for, of theta."""

    def update(state, step):
        key_batch, key_update = jax.random.split(jax.random.fold_in(jax.random.PRNGKey(1), step))
        batch = transitions(key_batch, 64)
        if theta:
            return agents.update(agent, hyper, state, batch, key_update, 100 + step, step)[0], None
        return agents.update_weights(agent, hyper, state, batch, key_update)[0], None

    with jax.default_matmul_precision("highest"):
        return jax.jit(lambda state: jax.lax.scan(update, state, jnp.arange(10))[0])(state)


def update():
    results = []
    for device in (jax.devices()[0], jax.devices("cpu")[0]):
        with jax.default_device(device):
            agent, hyper, state = one_agent()
            after = ten_updates(agent, hyper, jax.device_put(state, device))
            results.append(jax.tree.map(np.asarray, (after.params, after.theta)))
    return {"params": largest(results[0][0], results[1][0]), "theta": largest(results[0][1], results[1][1])}


def company(engine):
    ends = {}
    for count in (1, 8):
        config = small_config(seeds=count, engine=engine, devices=1)
        ready = setup.prepare(config, members.identities(config))
        state, _ = ready.program.collect(ready.program.init(ready.hyper, ready.seeds), 80)
        state, _ = ready.program.train(ready.hyper, state, 80, 10, 0)
        ends[count] = jax.tree.map(lambda leaf: np.asarray(leaf)[0], (state.agent.params, state.task.observation))
    return {"params": largest(ends[1][0], ends[8][0]), "observation": largest(ends[1][1], ends[8][1])}


def compacted():
    agent, hyper, state = one_agent()
    alive = jax.tree.map(
        lambda mask: (jnp.arange(mask.size) % 2 == 0).astype(mask.dtype).reshape(mask.shape), state.alive
    )
    state = state._replace(alive=alive, theta=alive)
    stacked = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], state)
    widths = compaction.rounded_widths(agent.dense, stacked.alive, 1)
    smaller, fewer = agents.compact(agent, stacked, widths)
    fewer = jax.tree.map(lambda leaf: leaf[0], fewer)
    observation = transitions(jax.random.PRNGKey(2), 256).observation
    act = lambda agent, state: agents.act(agent, state, observation, None)  # noqa: E731
    before, after = ten_updates(agent, hyper, state, False), ten_updates(smaller, hyper, fewer, False)
    return {
        "actions": float(np.abs(act(agent, state) - act(smaller, fewer)).max()),
        "actions_after_ten_updates": float(np.abs(act(agent, before) - act(smaller, after)).max()),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(fewer.params)),
        "parameters_before": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
    }


def resumed(engine, folder):
    """Bit by bit, which MuJoCo on the host allows; in MJX, atomic sums may come in any order."""
    settings = {"seeds": 2, "engine": engine, "devices": 1}
    whole = xinet_jax.train(small_config(out=str(folder / "whole"), **settings), progress=False)
    again = folder / "again"
    shutil.copytree(whole.folder, again)
    shutil.rmtree(again / "checkpoints" / "all" / "200")
    config = dataclasses.replace(xinet_jax.load_config(again / "config.yaml"), resume=str(again))
    xinet_jax.train(config, progress=False)
    ends = [checkpoints.read_header(run / "checkpoints" / "all" / "200")["arrays"] for run in (whole.folder, again)]
    return {
        "arrays": len(ends[0]),
        "arrays_that_differ": sum(ends[0][name] != ends[1][name] for name in ends[0]),
        "parameters_left": [sum(layer.parameters for layer in member.structure.layers) for member in whole.seeds],
    }


def policy(folder, kept):
    loaded = xinet_jax.load_policy(folder / "whole" / "policy" / "seed_0")
    shutil.copytree(folder / "whole" / "policy", kept, dirs_exist_ok=True)
    return {"returns": [float(value) for value in xinet_jax.evaluate(loaded, 2)], "platform": jax.default_backend()}


def resumed_and_policy(engine, out):
    with tempfile.TemporaryDirectory() as folder:
        return {"resume": resumed(engine, Path(folder)), "policy": policy(Path(folder), out / "policy")}


def workers(out: Path) -> list[Worker]:
    """Returns the checks, by process. `out`: a folder for the policy that is saved."""
    part = lambda name, function, *arguments: Part(name, partial(function, *arguments))  # noqa: E731
    cublas = {"XLA_FLAGS": "--xla_gpu_enable_triton_gemm=false"}
    return [
        Worker([part("update", update)], cublas),
        Worker([part("products", products)]),
        Worker([part("in two", in_two), part("compaction", compacted)], cublas),
        Worker([part("physics native", physics, "native"), part("company native", company, "native")], cublas),
        Worker([part("resume native", resumed_and_policy, "native", out)], cublas),
        Worker([part("physics mjx", physics, "mjx"), part("company mjx", company, "mjx")], cublas),
    ]
