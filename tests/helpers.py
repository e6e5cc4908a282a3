"""Small agents and random data for tests."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from xinet_jax.config import Config, make_config
from xinet_jax.networks import complexity, layout
from xinet_jax.networks.modules import Shape
from xinet_jax.policy.files import expected_arrays
from xinet_jax.policy.policy import Policy
from xinet_jax.policy.structure import Structure
from xinet_jax.pruning import compaction, theta
from xinet_jax.types import Transition, Units

OPTIMISED = {"xla_backend_optimization_level": 2}  # compiler options for what must be compiled as users' programs are


def tiny_config(**overrides) -> Config:
    """Returns a configuration small enough to compile and run in seconds."""
    agent = overrides.get("agent", "xinet")
    settings = {"actor_hidden": (7, 6), "critic_hidden": (8, 7), "batch_size": 16}
    settings |= {"steps": 60, "random_steps": 20, "eval_every": 1000, "log_every": 20}
    if agent != "sac":
        settings |= {"blocks": 2, "block_units": 5, "pretrain_updates": 5}
    if agent in ("magnitude", "random"):
        settings |= {"prune_every": 1}
    if agent == "xinet":
        settings |= {"prune_start": 25, "prune_ramp": 10, "prune_stop": None, "prune_every": 1, "gated": ("ofenet",)}
        settings |= {"theta_every": 1, "theta_learning_rate": 2e-3}
    return make_config(**(settings | overrides))


SMALLEST = {"blocks": 1, "actor_hidden": (7,), "critic_hidden": (8,)}  # for runs that show nothing about networks


def random_batch(key: jax.Array, observation: int = 17, action: int = 6, size: int = 16) -> Transition:
    """Returns random transitions, some of which end an episode."""
    keys = jax.random.split(key, 5)
    return Transition(
        observation=jax.random.normal(keys[0], (size, observation)),
        action=jax.random.uniform(keys[1], (size, action), minval=-1.0, maxval=1.0),
        reward=jax.random.normal(keys[2], (size,)),
        next_observation=jax.random.normal(keys[3], (size, observation)),
        continues=jax.random.bernoulli(keys[4], 0.8, (size,)).astype(jnp.float32),
    )


def gradient_of(agent, hyper, state, losses_at, key: jax.Array, steps: int | jax.Array) -> Units:
    """Returns the gradient of any losses by theta, at any age of an agent."""
    units = (state.theta, state.alive, state.origin)
    return theta.loss_gradient(agent.pruning, agent.dense, *units, losses_at, hyper.estimator_floor, key, steps)


def replaced(options: str, *others: str) -> list[str]:
    """Returns a command's options with others, in place of those of the same name."""
    kept = [words for words in map(str.split, options.split("--")[1:]) if f"--{words[0]}" not in others]
    return [word for name, *values in kept for word in (f"--{name}", *values)] + [*others]


def take_critic(plan: compaction.Plan, params: dict, twin: int) -> dict:
    """Returns one critic's arrays with only its planned indices left, without the axis of twins."""
    kept, arrays = {}, layout.flat(params)
    for path, keep in plan.params.items():
        if keep.stacked:
            kept[path[2:]] = np.asarray(arrays[path][twin])[np.ix_(*keep.twins[twin])]
    return layout.nested(kept)


def take_others(plan: compaction.Plan, params: dict) -> dict:
    """Returns OFENet's and the actor's arrays with only the planned indices left."""
    return compaction.take(plan.params, {name: params[name] for name in ("ofenet", "actor")})


def random_policy(
    blocks: tuple[int, ...] = (4, 3),
    hidden: tuple[int, ...] = (6, 5),
    task: str = "Hopper-v5",
    sizes: tuple[int, int] = (11, 3),
    **about,
) -> Policy:
    """Returns a policy with random weights and running statistics, without training and without compiling.

    Args:
      blocks, hidden: widths of OFENet's state branch and of the actor.
      task, sizes: the task, and the lengths of its observation and action.
      about: other fields of `Structure`.
    """
    shape = Shape(*sizes, sizes[0] if blocks else 0, blocks, blocks, hidden, (4, 4))
    fields = {"agent": "xinet", "seed": 3, "nu": 400.0, "settings": {}, "environment_steps": 10, "task_options": {}}
    fields |= {"action_scale": (1.0,) * shape.action, "action_offset": (0.0,) * shape.action}
    fields |= {"observation": shape.observation, "action": shape.action, "state_blocks": blocks, "actor_hidden": hidden}
    structure = Structure(**(fields | {"task": task, "layers": complexity.count(shape, shape, {})} | about))
    random, arrays = np.random.default_rng(0), {}
    for path, leaf in layout.flat(expected_arrays(structure)).items():
        values = random.normal(scale=0.5 if path[-1] == "kernel" else 0.2, size=leaf.shape)
        arrays[path] = np.abs(1.0 + values) if path[-1] in ("var", "scale") else values
    return Policy(structure, layout.nested({path: values.astype(np.float32) for path, values in arrays.items()}))


def drawn(folder: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Returns the curves in a run folder for TensorBoard: for each member, by name, steps and values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = {}
    for member in sorted((folder / "tensorboard").iterdir()):
        reader = EventAccumulator(str(member), size_guidance={"scalars": 0})
        reader.Reload()
        names = reader.Tags()["scalars"]
        curves[member.name] = {name: [(event.step, event.value) for event in reader.Scalars(name)] for name in names}
    return curves
