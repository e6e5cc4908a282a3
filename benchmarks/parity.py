"""How far is each task from Gymnasium's own environment, on each engine?

Per step: 1,000 random steps of Gymnasium's environment; before each, our task is set to its state, and both take the
same action. Differences are relative, |ours - theirs| / (1 + |theirs|): the largest, and the largest of the typical
(median) step. Free-running: the mean return of whole episodes of a fixed policy, actions that swing like sines, from
each side's own resets.

    python benchmarks/parity.py [--engine native mjx] [--task ...] [--no-returns] [--json]
    python benchmarks/parity.py --engine mjx --mjx-impl warp --no-returns
    python benchmarks/parity.py --engine native --physics fast
"""

import argparse
import json
import time
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.engines.loading import quiet_deprecations
from xinet_jax.tasks.engines.physics import Physics
from xinet_jax.tasks.registry import in_gymnasium, load_task, task_names
from xinet_jax.tasks.task import Task, TaskState
from xinet_jax.telemetry.json_lines import finite

EPISODES = 10


def make_gymnasium(name: str, options: dict[str, Any]) -> gymnasium.Env:
    with quiet_deprecations():
        return gymnasium.make(name, **options)


def physics_of(environment: gymnasium.Env, task: Task) -> Physics:
    """Returns the state of Gymnasium's simulation."""
    data = environment.unwrapped.data
    derived = {name: np.float32(getattr(data, name)) for name in task.definition.derived}
    return Physics(np.float32(data.qpos), np.float32(data.qvel), derived)


def differences(
    name: str, engine: str, steps: int = 1000, mjx_impl: str = "jax", physics: str = "exact", **options: Any
) -> dict[str, Any]:
    """Returns the relative differences of each step, `[steps]`, by what differs, and how many terminations did."""
    task, environment = load_task(name, engine, mjx_impl, physics, **options), make_gymnasium(name, options)
    generator, rows = np.random.default_rng(3), []
    environment.reset(seed=3)
    for _ in range(steps):
        before = physics_of(environment, task)
        action = generator.uniform(-1, 1, task.action_size).astype(np.float32)
        observation, reward, terminated, truncated, info = environment.step(tasks.to_control(task, action))
        rows.append((before, action, observation, reward, terminated, info))
        if terminated or truncated:
            environment.reset()
    before = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(row[0] for row in rows))
    nothing = jnp.zeros(task.observation_size)
    start = jax.vmap(lambda physics: TaskState(physics, nothing, jnp.int32(0), jnp.float32(0)))(before)
    began = time.monotonic()
    step = jax.jit(jax.vmap(lambda state, action: tasks.step(task, state, action)[1]))
    actions = jnp.stack([row[1] for row in rows])
    compiled = step.lower(start, actions).compile()
    seconds = time.monotonic() - began
    outcome = jax.tree.map(np.asarray, compiled(start, actions))
    relative = lambda ours, theirs: np.abs(ours - theirs) / (1 + np.abs(theirs))  # noqa: E731
    errors = {
        "observation": relative(outcome.observation, np.stack([row[2] for row in rows])).max(axis=1),
        "reward": relative(outcome.reward, np.array([row[3] for row in rows])),
    }
    for term, values in outcome.reward_terms.items():
        if term in rows[0][5]:
            errors[term] = relative(values, np.array([row[5][term] for row in rows]))
    theirs = np.array([row[4] for row in rows])
    return {
        "differences": errors,
        "terminated": int(theirs.sum()),
        "terminations_missed": int((outcome.terminated != theirs).sum()),
        "compile_seconds": seconds,
    }


def script(task: Task, elapsed: Any) -> Any:
    """Returns the fixed policy's action: every actuator swings, each a little later than the one before."""
    return 0.7 * jnp.sin(2 * jnp.pi * elapsed * task.dt * 1.5 + jnp.arange(task.action_size))


def returns(name: str, engine: str, mjx_impl: str = "jax", physics: str = "exact") -> tuple[np.ndarray, np.ndarray]:
    """Returns the fixed policy's returns here and in Gymnasium, `[EPISODES]` each."""
    task, environment = load_task(name, engine, mjx_impl, physics), make_gymnasium(name, {})

    def episode(key: jax.Array) -> jax.Array:
        def step(carry: tuple) -> tuple:
            state, _ = carry
            after, outcome = tasks.step(task, state, script(task, state.elapsed))
            return after, outcome.ended

        return jax.lax.while_loop(lambda carry: ~carry[1], step, (tasks.reset(task, key), False))[0].episode_return

    ours = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.PRNGKey(0), EPISODES))
    theirs = np.zeros(EPISODES)
    act = jax.jit(lambda elapsed: script(task, elapsed))
    for seed in range(EPISODES):
        environment.reset(seed=seed)
        ended, elapsed = False, 0
        while not ended:
            action = tasks.to_control(task, np.asarray(act(elapsed)))
            _, reward, terminated, truncated, _ = environment.step(action)
            theirs[seed], ended, elapsed = theirs[seed] + reward, terminated or truncated, elapsed + 1
    return np.asarray(ours), theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", nargs="+", default=["native", "mjx"], help="engines")
    parser.add_argument("--task", nargs="+", default=list(filter(in_gymnasium, task_names())), help="tasks")
    parser.add_argument("--steps", type=int, default=1000, help="random steps")
    parser.add_argument("--mjx-impl", default="jax", help="implementation of MJX: jax or warp")
    parser.add_argument("--physics", default="exact", help="exact or fast")
    parser.add_argument("--no-returns", action="store_true", help="leave the free-running episodes out")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    arguments = parser.parse_args()
    if arguments.mjx_impl != "jax" and arguments.engine != ["mjx"]:
        parser.error("--mjx-impl is for --engine mjx alone")
    if not arguments.json:
        print("| task | engine | observation: largest, typical | reward | terminations missed | return | compile [s] |")
        print("|---|---|---|---|---|---|---|")
    for name in arguments.task:
        for engine in arguments.engine:
            how = (arguments.mjx_impl, arguments.physics)
            comparison = differences(name, engine, arguments.steps, *how)
            label = ", ".join([engine, *(choice for choice in how if choice not in ("jax", "exact"))])
            row = {"task": name, "engine": label, "terminations": comparison["terminated"]}
            for what in ("observation", "reward"):
                row |= {what: float(comparison["differences"][what].max())}
                row |= {f"typical_{what}": float(np.median(comparison["differences"][what]))}
            row |= {key: comparison[key] for key in ("terminations_missed", "compile_seconds")}
            if not arguments.no_returns:
                ours, theirs = returns(name, engine, *how)
                row |= {"return": float(ours.mean()), "gymnasium_return": float(theirs.mean())}
                row |= {"gymnasium_deviation": float(theirs.std())}
            print(json.dumps(finite(row), allow_nan=False) if arguments.json else markdown(row), flush=True)


def markdown(row: dict[str, Any]) -> str:
    free = "not run"
    if "return" in row:
        free = f"{row['return']:.1f} ({row['gymnasium_return']:.1f} ± {row['gymnasium_deviation']:.1f})"
    cells = [
        row["task"],
        row["engine"],
        f"{row['observation']:.0e}, {row['typical_observation']:.0e}",
        f"{row['reward']:.0e}, {row['typical_reward']:.0e}",
        f"{row['terminations_missed']} of {row['terminations']}",
        free,
        f"{row['compile_seconds']:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
