"""The description of a policy and its origin, as JSON. Everything in the file is checked before it is used."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from xinet_jax.config import SWEPT
from xinet_jax.errors import UserError, brief, unknown_name
from xinet_jax.networks import complexity, layout
from xinet_jax.networks.complexity import LayerCount
from xinet_jax.networks.modules import Shape
from xinet_jax.policy.layers import STRUCTURE_FILE
from xinet_jax.tasks.options import as_json
from xinet_jax.tasks.registry import check_name, checked_options
from xinet_jax.type_hints import has_type

FORMAT = "xinet_jax policy 2"
BIASED_FORMAT = "xinet_jax policy 1"  # OFENet's blocks had biases, which their layers' counts include
_MAX_WIDTH, _MAX_LAYERS = 1 << 20, 5000


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
        rows = complexity.count(self.shape, self.shape, {})
        return sum(row.parameters for row in rows if row.in_policy)

    @property
    def shape(self) -> Shape:
        """The sizes of the arrays that are stored: without what is not needed to act."""
        return Shape(self.observation, self.action, 0, self.state_blocks, (), self.actor_hidden, critic_hidden=(0,))

    def agent_shapes(self, field: str) -> tuple[Shape, Shape]:
        """Returns the sizes of the agent that it came from, with the widths of the first critic and of the second.

        Args:
          field: `units_before` or `units`: before pruning or after.
        """

        def sizes(critic: str) -> dict[tuple[str, str], int]:
            network = {critic: "critic"}
            return {(network.get(row.network, row.network), row.name): getattr(row, field) for row in self.layers}

        first, second = (layout.shape_from(self.observation, self.action, sizes(f"critic_{k}")) for k in (1, 2))
        return first, second


def structure_as_json(structure: Structure) -> dict[str, Any]:
    """Returns a structure as JSON has it: layers by their fields' names, infinite options as texts."""
    layers = [layer._asdict() for layer in structure.layers]
    return dataclasses.asdict(structure) | {"task_options": as_json(structure.task_options), "layers": layers}


def load_structure(folder: Path) -> Structure:
    """Reads a policy's structure alone. Raises UserError if it is damaged."""
    file = folder / STRUCTURE_FILE
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {file}: {error}") from None
    if not isinstance(content, dict) or content.get("format") not in (FORMAT, BIASED_FORMAT):
        raise UserError(f"{file} is no policy: it must be a JSON object with format '{FORMAT}'")
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
        check_name(values["task"])
        for name in ("seed", "environment_steps"):
            values[name] = _not_negative(_checked(values[name], int))
        if values["nu"] is not None:
            values["nu"] = _not_negative(_finite(values["nu"]))
        for name in ("observation", "action"):
            values[name] = _width(values[name], least=1)
        values["task_options"] = checked_options(values["task"], _checked(content.get("task_options", {}), dict))
        for name, default in (("action_scale", 1.0), ("action_offset", 0.0)):
            numbers = _checked(content.get(name, [default] * min(values["action"], 1000)), list)
            values[name] = tuple(map(_finite, numbers))
            if len(numbers) != values["action"]:
                raise ValueError(f"{name} has {len(numbers)} numbers, not {values['action']}")
        for name in ("state_blocks", "actor_hidden"):
            least = int(name == "actor_hidden")  # a layer of the actor is never pruned whole
            values[name] = tuple(_width(width, least) for width in _checked(values[name], list))
        values["layers"] = tuple(_layer(item) for item in _checked(values["layers"], list))
        structure = Structure(**values)
        _check_layers(structure, _BiasedLayer if content["format"] == BIASED_FORMAT else complexity.Layer)
        return structure
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"damaged policy {file}: {reason}") from None


def _finite(value: Any) -> float:
    number = float(_checked(value, float))
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
    """A layer as `BIASED_FORMAT` counts it, with a bias before each batch normalisation."""

    @property
    def parameters(self) -> complexity.Count:
        return self.units * (self.inputs + self.vectors + (self.vectors > 1))

    @property
    def flops(self) -> complexity.Count:
        return self.units * (2.0 * self.inputs + self.vectors - 1.0 + (self.vectors > 1))


def _check_layers(structure: Structure, kind: type[complexity.Layer]) -> None:
    """Checks the counts of every layer against the widths, and these against each other.

    Args:
      structure: what was read.
      kind: what counts a layer's parameters and FLOPs.

    Raises:
      ValueError: for layers that no agent of these sizes has, or counts that do not follow from their widths.
    """
    if len(structure.layers) > _MAX_LAYERS:
        raise ValueError(f"{len(structure.layers)} layers are more than an agent can have")
    before, now = (structure.agent_shapes(field) for field in ("units_before", "units"))
    hidden = [len(shape.critic_hidden) for shape in before]
    if hidden[0] != hidden[1]:
        raise ValueError(f"the critics have {hidden[0]} and {hidden[1]} hidden layers")
    for row in structure.layers:
        least = int(not (row.network == "ofenet" and row.name.startswith(("state_", "action_"))))
        if not max(least, 1) <= row.units_before <= _MAX_WIDTH or not least <= row.units <= row.units_before:
            units = f"{brief(row.units)} of {brief(row.units_before)}"
            raise ValueError(f"layer {brief(row.name)} of {brief(row.network)} cannot have {units} units left")
    for name in ("state_blocks", "actor_hidden"):
        # Where nothing was compacted, arrays are wider than what is left.
        arrays, widest, least = (getattr(sizes, name) for sizes in (structure, before[0], now[0]))
        fits = len(arrays) == len(widest) and all(
            low <= width <= high for low, width, high in zip(least, arrays, widest, strict=True)
        )
        if not fits:
            raise ValueError(f"{name} {brief(arrays)} and the units of layers do not agree")
    predicted = before[0].predicted
    if predicted > structure.observation:
        raise ValueError(f"{predicted} of {structure.observation} observed numbers are predicted")
    counts = ([kind(*layer) for layer in complexity.layers_of(shapes)] for shapes in (before, now))
    expected = complexity.rows_of(*counts)
    if expected == structure.layers:
        return
    names = [(row.network, row.name) for row in structure.layers]
    if names != [(row.network, row.name) for row in expected]:
        raise ValueError("layers are not those of an agent, in their order")
    raise ValueError("the parameters and FLOPs of layers are not those of their widths")


def _checked(value: Any, kind: type) -> Any:
    if not has_type(value, kind):
        raise ValueError(f"{value!r:.60} is not of type {kind.__name__}")
    return value


def _width(value: Any, least: int) -> int:
    if not least <= _checked(value, int) <= _MAX_WIDTH:
        raise ValueError(f"{value} is no width")
    return value
