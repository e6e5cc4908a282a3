"""A trained policy by itself: compacted arrays in an Orbax tree, and a small JSON file that says what they are.

Loading reads numbers and names only: no pickle, no code, no original configuration.
"""

import dataclasses
import itertools
import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xinet_jax import compaction, complexity, folding, gates
from xinet_jax.arrays import in_float32
from xinet_jax.complexity import LayerCount
from xinet_jax.config import SWEPT
from xinet_jax.errors import UserError, brief, unknown_name
from xinet_jax.networks import MLP, OFENet, Shape, policy_mode
from xinet_jax.orbax_files import plain_folder, plain_path, reader, save_arrays
from xinet_jax.state import Agent, AgentState, gates_read
from xinet_jax.tasks.options import as_json
from xinet_jax.tasks.registry import checked_options, task_names
from xinet_jax.tasks.task import Task

Tree = Any

_FORMAT = "xinet_jax policy 2"
_BIASED_FORMAT = "xinet_jax policy 1"  # OFENet's blocks had biases, which their layers' counts include
_STRUCTURE_FILE, _ARRAYS_FOLDER = "policy.json", "arrays"
_MAX_WIDTH = 1 << 20


@dataclasses.dataclass(frozen=True)
class Structure:
    """What a policy is, and what it came from.

    Attributes:
      task, agent: names.
      seed: the seed that trained it.
      nu: the price that it was trained with [nats]; None for agents without one.
      settings: its other hyper-parameters, by name, of which its run had several values.
      environment_steps: how long it was trained.
      task_options: of the task, by Gymnasium's names.
      observation, action: lengths of observation and action.
      action_scale, action_offset: from the actor's output in [-1, 1] to the task's actions, `offset + scale * output`.
      state_blocks: units left in each block of OFENet's state branch; empty without an extractor.
      actor_hidden: units left in each hidden layer of the actor.
      layers: every layer of the whole agent, before and after pruning.
    """

    task: str
    agent: str
    seed: int
    nu: float | None
    settings: dict[str, float]
    environment_steps: int
    task_options: dict[str, Any]
    observation: int
    action: int
    action_scale: tuple[float, ...]
    action_offset: tuple[float, ...]
    state_blocks: tuple[int, ...]
    actor_hidden: tuple[int, ...]
    layers: tuple[LayerCount, ...]

    @property
    def parameters(self) -> int:
        """Number of the policy's own parameters, as stored: the state branch's and the actor's."""
        own = Shape(self.observation, self.action, 0, self.state_blocks, (), self.actor_hidden, critic_hidden=(0,))
        return sum(layer.parameters for layer in complexity.count(own, own, {}) if in_policy(layer))


class Policy:
    """A deterministic policy: `policy(observation) -> action`, actions as the task's environment takes them.

    Attributes:
      structure: what it is.
      arrays: `{"ofenet": {"state"}, "statistics": {"state"}, "actor"}`, with no gates and no pruned units.
    """

    def __init__(self, structure: Structure, arrays: dict[str, Tree]):
        self.structure = structure
        self.arrays = arrays
        self._apply = jax.jit(_make_apply(structure))
        self._apply_to_each = jax.jit(
            lambda trees, rows: jax.lax.map(lambda row: _make_apply(structure)(trees, row), rows)
        )

    @in_float32
    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Returns the action for one observation `[observation]`, or for a batch of them `[batch, observation]`.

        Raises:
          ValueError: if the last axis has another length.
        """
        return np.asarray(self._apply(self.arrays, self._checked(observation)))

    @in_float32
    def each(self, observations: np.ndarray) -> np.ndarray:
        """Returns the actions for a batch of observations `[batch, observation]`, each computed by itself.

        To the last digit an action is the same whatever else is in the batch, which it is not where the whole batch is
        multiplied by the weights at once.

        Raises:
          ValueError: if the last axis has another length.
        """
        return np.asarray(self._apply_to_each(self.arrays, self._checked(observations)))

    def _checked(self, observation: np.ndarray) -> np.ndarray:
        observation = np.asarray(observation, np.float32)
        if observation.ndim == 0 or observation.shape[-1] != self.structure.observation:
            raise ValueError(f"observations must be [..., {self.structure.observation}], not {observation.shape}")
        return observation


def in_policy(layer: LayerCount) -> bool:
    """Returns whether a layer is needed to act: the state branch and the actor are."""
    return layer.network == "actor" or layer.name.startswith("state_")


def from_agent(
    agent: Agent,
    state: AgentState,
    *,
    task: Task,
    name: str,
    seed: int,
    nu: float | None,
    settings: dict[str, float],
    environment_steps: int,
) -> Policy:
    """Returns the policy of one agent, compacted unless its configuration says `compact: off`.

    Args:
      agent: the agent.
      state: one member's state, with no member axis.
      task: what it was trained on.
      name, seed, nu, settings, environment_steps: what to write down; `name` is the agent's.
    """
    shape = agent.networks.shape
    kept = gates.complete(shape, {} if agent.pruning.compact == "off" else state.alive)
    keep = compaction.plan(shape, kept)
    params = folding.fold(shape, state.params, gates_read(agent, state))
    structure = Structure(
        task=task.name,
        task_options=task.options,
        agent=name,
        seed=seed,
        nu=nu,
        settings=settings,
        environment_steps=environment_steps,
        observation=shape.observation,
        action=shape.action,
        action_scale=tuple(map(float, task.control_scale)),
        action_offset=tuple(map(float, task.control_offset)),
        state_blocks=tuple(int(layer.sum()) for layer in kept["ofenet"]["state"]),
        actor_hidden=tuple(int(layer.sum()) for layer in kept["actor"]),
        layers=complexity.count(agent.dense, shape, state.alive),
    )
    ofenet = compaction.take(keep.ofenet, params["ofenet"])
    statistics = compaction.take(keep.statistics, state.statistics)
    arrays = {
        "ofenet": {"state": ofenet["state"]} if "state" in ofenet else {},
        "statistics": {"state": statistics["state"]} if "state" in statistics else {},
        "actor": compaction.take(keep.actor, params["actor"]),
    }
    return Policy(structure, {name: tree for name, tree in arrays.items() if tree})


def save_policy(policy: Policy, folder: Path) -> None:
    """Writes a policy to a new folder. Raises UserError if it cannot be written."""
    content = {"format": _FORMAT} | structure_as_json(policy.structure)
    try:
        folder.mkdir(parents=True)
        (folder / _STRUCTURE_FILE).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        with plain_folder() as aside:
            save_arrays(aside / _ARRAYS_FOLDER, jax.tree.map(np.asarray, policy.arrays))
            shutil.copytree(aside / _ARRAYS_FOLDER, folder / _ARRAYS_FOLDER)
    except Exception as error:  # Orbax raises many kinds when a disk is full
        if isinstance(error, shutil.Error):  # a list of what could not be copied, and why
            error = error.args[0][0][-1]
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"cannot save policy {folder}: {reason[:200]}") from None


def structure_as_json(structure: Structure) -> dict[str, Any]:
    """Returns a structure as JSON has it: layers by their fields' names, infinite options as texts."""
    layers = [layer._asdict() for layer in structure.layers]
    return dataclasses.asdict(structure) | {"task_options": as_json(structure.task_options), "layers": layers}


def find_policies(path: Path | str) -> list[Path]:
    """Returns the policy folders at a path: itself, or those of a run folder, by nu and seed.

    Raises:
      UserError: if there are none.
    """
    path = Path(path)
    try:
        if (path / _STRUCTURE_FILE).is_file():
            return [path]
        for root in (path / "policy", path):
            found = [file.parent for file in root.glob(f"*/{_STRUCTURE_FILE}")]
            if found:
                return sorted(found, key=_in_order)
        missing = "does not exist" if not path.exists() else "is a file, not a folder"
        what = "holds no policy" if path.is_dir() else missing
    except (OSError, ValueError) as error:  # no permission, a name too long, a null character
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    raise UserError(f"{path} {what}: give a run folder, or one of its policy/seed_N folders")


def _in_order(folder: Path) -> list[float | str]:
    """Sorts names by the numbers in them."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", folder.name)
    return [float(part) if k % 2 else part for k, part in enumerate(parts)]


@in_float32
def load_policy(path: Path | str) -> Policy:
    """Reads one policy.

    Args:
      path: a policy folder, or a run folder that holds exactly one.

    Raises:
      UserError: if there is no policy or more than one, or if it is damaged.
    """
    folders = find_policies(path)
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise UserError(f"{path} holds {len(folders)} policies ({names}): give the folder of one")
    structure = load_structure(folders[0])
    try:
        expected, biased = _expected_arrays(structure), False
        with plain_path(folders[0]) as folder, reader() as checkpointer:
            metadata = checkpointer.metadata(folder / _ARRAYS_FOLDER).item_metadata
            if metadata is None:
                raise UserError(f"damaged policy {folders[0]}: its arrays are missing or unreadable")
            stored = metadata.tree
            shapes = jax.tree.map(lambda leaf: tuple(leaf.shape), stored, is_leaf=lambda x: hasattr(x, "shape"))
            if shapes == jax.tree.map(lambda leaf: tuple(leaf.shape), _with_bias(expected)):
                expected, biased = _with_bias(expected), "ofenet" in expected
            if shapes != jax.tree.map(lambda leaf: tuple(leaf.shape), expected):
                raise UserError(
                    f"damaged policy {folders[0]}: the arrays are not of the sizes that {_STRUCTURE_FILE} says"
                )
            arrays = checkpointer.restore(folder / _ARRAYS_FOLDER, jax.tree.map(_on_host, expected))
        arrays = _without_bias(arrays) if biased else arrays
    except UserError:
        raise
    except Exception as error:  # Orbax raises many kinds for broken files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"damaged policy {folders[0]}: {reason[:200]}") from None
    return Policy(structure, arrays)


def load_structure(folder: Path) -> Structure:
    """Reads a policy's structure alone. Raises UserError if it is damaged."""
    file = folder / _STRUCTURE_FILE
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {file}: {error}") from None
    if not isinstance(content, dict) or content.get("format") not in (_FORMAT, _BIASED_FORMAT):
        raise UserError(f"{file} is no policy: it must be a JSON object with format '{_FORMAT}'")
    try:
        names = [field.name for field in dataclasses.fields(Structure)]
        later = ("nu", "settings", "task_options", "action_scale", "action_offset")  # the first policies had none
        values = {name: content[name] for name in names if name not in later}
        values["nu"] = content.get("nu")
        values["settings"] = {
            _setting(name): _finite(value) for name, value in _checked(content.get("settings", {}), dict).items()
        }
        for name in ("task", "agent"):
            values[name] = _checked(values[name], str)
        if values["task"] not in task_names():
            raise ValueError(str(unknown_name("task", values["task"], task_names())))
        for name in ("seed", "environment_steps"):
            values[name] = _not_negative(_checked(values[name], int))
        if values["nu"] is not None:
            values["nu"] = _not_negative(_finite(values["nu"]))
        for name in ("observation", "action"):
            values[name] = _width(values[name], least=1)
        values["task_options"] = checked_options(values["task"], _checked(content.get("task_options", {}), dict))
        for name, default in (("action_scale", 1.0), ("action_offset", 0.0)):
            given = _checked(content.get(name, [default] * min(values["action"], 1000)), list)
            values[name] = tuple(_finite(number) for number in given)
            if len(given) != values["action"]:
                raise ValueError(f"{name} has {len(given)} numbers, not {values['action']}")
        for name in ("state_blocks", "actor_hidden"):
            least = int(name == "actor_hidden")  # a layer of the actor is never pruned whole
            values[name] = tuple(_width(width, least) for width in _checked(values[name], list))
        values["layers"] = tuple(_layer(item) for item in _checked(values["layers"], list))
        structure = Structure(**values)
        _check_layers(structure, _BiasedLayer if content["format"] == _BIASED_FORMAT else complexity.Layer)
        return structure
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"damaged policy {file}: {reason}") from None


def _finite(value: Any) -> float:
    number = float(_checked(value, (int, float)))
    if not math.isfinite(number):
        raise ValueError(f"{number} is not finite")
    return number


def _not_negative(number: Any) -> Any:
    if number < 0:
        raise ValueError(f"{brief(number)} is below 0")
    return number


def _setting(name: str) -> str:
    if name not in SWEPT:
        raise unknown_name("setting", name, SWEPT)
    return name


def _layer(item: Any) -> LayerCount:
    item = _checked(item, dict)
    numbers = {name: _checked(item[name], int) for name in LayerCount._fields[2:]}
    return LayerCount(network=_checked(item["network"], str), name=_checked(item["name"], str), **numbers)


class _BiasedLayer(complexity.Layer):
    """A layer as `_BIASED_FORMAT` counts it, with a bias before each batch normalisation."""

    @property
    def parameters(self) -> complexity.Count:
        return self.units * (self.inputs + (3.0 if self.normalised else 1.0))

    @property
    def flops(self) -> complexity.Count:
        return self.units * (2.0 * self.inputs + (2.0 if self.normalised else 0.0))


def _check_layers(structure: Structure, kind: type[complexity.Layer]) -> None:
    """Checks the counts of every layer against the widths, and these against each other.

    Args:
      structure: what was read.
      kind: what counts a layer's parameters and FLOPs.

    Raises:
      ValueError: for layers that no agent of these sizes has, or counts that do not follow from their widths.
    """
    rows = {(row.network, row.name): row for row in structure.layers}

    def hidden(network: str, kind: str) -> list[LayerCount]:
        names = itertools.takewhile(rows.__contains__, ((network, f"{kind}_{k}") for k in itertools.count(1)))
        return [rows[name] for name in names]

    state, action = hidden("ofenet", "state"), hidden("ofenet", "action")
    actor, *critics = hidden("actor", "hidden"), hidden("critic_1", "hidden"), hidden("critic_2", "hidden")
    if len(critics[0]) != len(critics[1]):
        raise ValueError(f"the critics have {len(critics[0])} and {len(critics[1])} hidden layers")
    for row in structure.layers:
        least = int(not (row.network == "ofenet" and row.name.startswith(("state_", "action_"))))
        if not max(least, 1) <= row.units_before <= _MAX_WIDTH or not least <= row.units <= row.units_before:
            units = f"{brief(row.units)} of {brief(row.units_before)}"
            raise ValueError(f"layer {brief(row.name)} of {brief(row.network)} cannot have {units} units left")
    for name, arrays, layers in (
        ("state_blocks", structure.state_blocks, state),
        ("actor_hidden", structure.actor_hidden, actor),
    ):
        # Where nothing was compacted, arrays are wider than what is left.
        fits = len(arrays) == len(layers) and all(
            row.units <= width <= row.units_before for width, row in zip(arrays, layers, strict=True)
        )
        if not fits:
            raise ValueError(f"{name} {brief(arrays)} and the units of layers do not agree")

    predictor = rows.get(("ofenet", "predictor"))
    predicted = predictor.units_before if predictor else 0
    if predicted > structure.observation:
        raise ValueError(f"{predicted} of {structure.observation} observed numbers are predicted")
    # One entry stands for all units of a layer: layers can be wide, and their sizes are yet to be believed.
    empty = [(0,) * len(layers) for layers in (state, action, actor, critics[0])]
    shape = Shape(structure.observation, structure.action, predicted, *empty)

    def counted(field: str) -> list[complexity.Layer]:
        def gates_of(layers: Sequence[LayerCount]) -> tuple[np.ndarray, ...]:
            return tuple(np.array([float(getattr(row, field))]) for row in layers)

        units = {"ofenet": {"state": gates_of(state), "action": gates_of(action)}, "actor": gates_of(actor)}
        return complexity.layers(
            shape, units | {"critic": tuple(map(np.stack, zip(*map(gates_of, critics), strict=True)))}
        )

    before, now = ([kind(*layer) for layer in counted(field)] for field in ("units_before", "units"))
    expected = complexity.rows_of(before, now)
    if expected == structure.layers:
        return
    names = [(row.network, row.name) for row in structure.layers]
    if names != [(row.network, row.name) for row in expected]:
        raise ValueError("layers are not those of an agent, in their order")
    raise ValueError("the parameters and FLOPs of layers are not those of their widths")


def _checked(value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = kind[-1] if isinstance(kind, tuple) else kind
        raise ValueError(f"{value!r:.60} is not of type {wanted.__name__}")
    return value


def _width(value: Any, least: int) -> int:
    if not least <= _checked(value, int) <= _MAX_WIDTH:
        raise ValueError(f"{value} is no width")
    return value


def _modules(structure: Structure) -> tuple[OFENet, MLP]:
    return OFENet(structure.state_blocks, (), 0), MLP(structure.actor_hidden, 2 * structure.action)


def _make_apply(structure: Structure):
    ofenet, actor = _modules(structure)
    scale, offset = (np.asarray(own, np.float32) for own in (structure.action_scale, structure.action_offset))

    def apply(arrays: dict[str, Tree], observation: jax.Array) -> jax.Array:
        variables = {"params": arrays.get("ofenet", {}), "batch_stats": arrays.get("statistics", {})}
        z_o = ofenet.apply(variables, observation, method=ofenet.state_features)
        return offset + scale * policy_mode(actor.apply({"params": arrays["actor"]}, z_o))

    return apply


def _expected_arrays(structure: Structure) -> dict[str, Tree]:
    """Returns the shapes that a structure's arrays must have, without allocating any."""
    ofenet, actor = _modules(structure)

    def init() -> dict[str, Tree]:
        key = jax.random.PRNGKey(0)
        observation = jax.numpy.zeros(structure.observation)
        z_o, variables = ofenet.init_with_output(key, observation, method=ofenet.state_features)
        trees = {
            "ofenet": variables.get("params", {}),
            "statistics": variables.get("batch_stats", {}),
            "actor": actor.init(key, z_o)["params"],
        }
        return {name: tree for name, tree in trees.items() if tree}

    return jax.eval_shape(init)


def _with_bias(expected: dict[str, Tree]) -> dict[str, Tree]:
    """Returns the shapes of the same policy as `_BIASED_FORMAT` stored it."""
    if not expected.get("ofenet"):
        return expected
    branch = expected["ofenet"]["state"]
    kernel = branch["input"]["kernel"]
    bias = jax.ShapeDtypeStruct(kernel.shape[-1:], kernel.dtype)
    return expected | {"ofenet": {"state": branch | {"input": {"kernel": kernel, "bias": bias}}}}


def _without_bias(arrays: dict[str, Tree]) -> dict[str, Tree]:
    """Returns a policy that computes the same without biases: the running means that are subtracted after them fall."""
    branch, statistics = dict(arrays["ofenet"]["state"]), dict(arrays["statistics"]["state"])
    bias, start = branch["input"]["bias"], 0
    for name in sorted(statistics, key=lambda name: int(name.removeprefix("norm_"))):
        mean = statistics[name]["mean"]
        statistics[name] = statistics[name] | {"mean": mean - bias[start : start + mean.size]}
        start += mean.size
    branch["input"] = {"kernel": branch["input"]["kernel"]}
    return arrays | {"ofenet": {"state": branch}, "statistics": {"state": statistics}}


def _on_host(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    return np.empty(leaf.shape, leaf.dtype)
