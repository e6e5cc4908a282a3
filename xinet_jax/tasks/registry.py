"""Tasks by name."""

import inspect
import math
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium.envs.mujoco
import mujoco

from xinet_jax.errors import UserError, brief, unknown_name
from xinet_jax.tasks.ant import ant
from xinet_jax.tasks.arms import pusher, reacher
from xinet_jax.tasks.half_cheetah import half_cheetah
from xinet_jax.tasks.hoppers import hopper, walker2d
from xinet_jax.tasks.humanoids import humanoid, humanoid_standup
from xinet_jax.tasks.loading import quiet_deprecations
from xinet_jax.tasks.pendulums import inverted_double_pendulum, inverted_pendulum
from xinet_jax.tasks.swimmer import swimmer
from xinet_jax.tasks.task import Definition, Task, make_task

_ASSETS = Path(gymnasium.envs.mujoco.__file__).parent / "assets"


class _Entry(NamedTuple):
    """A model's file, the function `(model, **options) -> Definition`, and whether it is Gymnasium's."""

    xml: Path
    define: Callable[..., Definition]
    in_gymnasium: bool = True


_ENTRIES: dict[str, _Entry] = {
    "HalfCheetah-v5": _Entry(_ASSETS / "half_cheetah.xml", half_cheetah),
    "Hopper-v5": _Entry(_ASSETS / "hopper.xml", hopper),
    "Walker2d-v5": _Entry(_ASSETS / "walker2d_v5.xml", walker2d),
    "Ant-v5": _Entry(_ASSETS / "ant.xml", ant),
    "Humanoid-v5": _Entry(_ASSETS / "humanoid.xml", humanoid),
    "HumanoidStandup-v5": _Entry(_ASSETS / "humanoidstandup.xml", humanoid_standup),
    "Swimmer-v5": _Entry(_ASSETS / "swimmer.xml", swimmer),
    "Reacher-v5": _Entry(_ASSETS / "reacher.xml", reacher),
    "Pusher-v5": _Entry(_ASSETS / "pusher_v5.xml", pusher),
    "InvertedPendulum-v5": _Entry(_ASSETS / "inverted_pendulum.xml", inverted_pendulum),
    "InvertedDoublePendulum-v5": _Entry(_ASSETS / "inverted_double_pendulum.xml", inverted_double_pendulum),
}


def task_names() -> tuple[str, ...]:
    """Returns the registered tasks."""
    return tuple(_ENTRIES)


def in_gymnasium(name: str) -> bool:
    """Returns whether a registered task is one of Gymnasium's, by the same name."""
    return _ENTRIES[name].in_gymnasium


def register_task(name: str, xml: Path | str, define: Callable[..., Definition]) -> None:
    """Registers a task of your own, on both engines.

    Args:
      name: a new name.
      xml: the MuJoCo model's file.
      define: `(model, **options) -> Definition`; arguments with a default, and with types bool, float or
        tuple[float, float], are the options that `--task-options` may set.

    Raises:
      UserError: if the name is taken or has characters that no folder's name should have, or the file does not exist.
    """
    if name in _ENTRIES:
        raise UserError(f"a task {name} is registered already: choose another name")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise UserError(f"the name of a task must be letters, digits and _.-, not {brief(name, quoted=True)}")
    if not Path(xml).is_file():
        raise UserError(f"task {name}: there is no file {xml}")
    _ENTRIES[name] = _Entry(Path(xml), define, in_gymnasium=False)


def load_task(name: str, engine: str = "auto", **options: Any) -> Task:
    """Returns a registered task on an engine (`auto`, `mjx` or `native`).

    Args:
      name: its name.
      engine: what simulates it.
      options: of its definition, by Gymnasium's names, such as `ctrl_cost_weight`.

    Raises:
      UserError: for an unknown task, engine or option.
    """
    if name not in _ENTRIES:
        raise unknown_name("task", name, _ENTRIES)
    options = checked_options(name, options)
    with quiet_deprecations():
        try:
            model = mujoco.MjModel.from_xml_path(str(_ENTRIES[name].xml))
        except ValueError as error:
            reason = (str(error).splitlines() or ["it is no model"])[0]
            raise UserError(f"task {name}: cannot load {_ENTRIES[name].xml}: {reason[:200]}") from None
    return make_task(name, _ENTRIES[name].define(model, **options), model, engine, options)


def describe_task(name: str) -> dict[str, Any]:
    """Returns what there is to know of a task: sizes, episodes, engines, options with their defaults."""
    task = load_task(name, "native")
    return {
        "task": name,
        "observation": task.observation_size,
        "predicted": task.predicted_size,
        "action": task.action_size,
        "seconds_per_step": task.dt,
        "episode_length": task.definition.episode_length,
        "engines": ["native", "mjx"],
        "in_gymnasium": in_gymnasium(name),
        "options": _defaults(name),
    }


def _defaults(name: str) -> dict[str, Any]:
    parameters = inspect.signature(_ENTRIES[name].define).parameters.items()
    return {key: own.default for key, own in parameters if own.default is not inspect.Parameter.empty}


def checked_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options of a task, lists as tuples. Raises UserError for a name or value that is not allowed."""
    defaults = _defaults(name)
    hints = typing.get_type_hints(_ENTRIES[name].define)
    found = {}
    for key, value in options.items():
        if key not in defaults:
            raise unknown_name(f"option of {name}", key, defaults)
        found[key] = _checked(key, value, hints[key])
    return found


def parse_options(given: tuple[str, ...]) -> dict[str, Any]:
    """Returns options written as `name=value`; a range as `name=low,high`. Raises UserError for anything else."""
    found: dict[str, Any] = {}
    for text in given:
        name, separator, value = text.partition("=")
        parts = [_read(part) for part in value.split(",")]
        if not separator or not name or not all(part != "" for part in parts) or name in found:
            raise UserError(f"task_options must be name=value, each name once, not {brief(text)}")
        found[name] = parts[0] if len(parts) == 1 else tuple(parts)
    return found


def _read(text: str) -> bool | int | float | str:
    """Returns the value that a text stands for; itself if nothing else."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _checked(name: str, value: Any, hint: Any) -> Any:
    is_number = lambda item: type(item) in (int, float) and (abs(item) <= 1e30 or abs(item) == math.inf)  # noqa: E731
    if hint is bool:
        valid, wanted = isinstance(value, bool), "true or false"
    elif hint is float:
        valid, wanted = is_number(value), "a number"
    elif typing.get_origin(hint) is tuple:
        valid, wanted = isinstance(value, (list, tuple)) and len(value) == 2 and all(map(is_number, value)), "low,high"
    else:
        valid, wanted = type(value) in (int, str), "a number or a name"
    if not valid:
        raise UserError(f"task option {name} must be {wanted}, not {brief(value, quoted=True)}")
    return tuple(map(float, value)) if isinstance(value, (list, tuple)) else value
