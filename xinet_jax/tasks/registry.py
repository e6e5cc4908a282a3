"""Tasks by name."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xinet_jax.errors import UserError, brief, first_line, unknown_name
from xinet_jax.tasks.catalogue import BUILT_IN, REGISTERED_PREFIX, Entry, Sizes, registered
from xinet_jax.tasks.names import ENGINES, PHYSICS, check_implementation
from xinet_jax.tasks.options import check_options, defaults

if TYPE_CHECKING:  # what simulates is loaded when a task is
    import xinet_jax.tasks.task

_ENTRIES: dict[str, Entry] = dict(BUILT_IN)


def task_names() -> tuple[str, ...]:
    """Returns the registered tasks."""
    return tuple(_ENTRIES)


def check_name(name: object) -> None:
    """Raises UserError for a name that no task has. Of `gymnasium/NAME` it does not look for the environment."""
    if not isinstance(name, str) or (name not in _ENTRIES and registered(name) is None):
        others = f"; {REGISTERED_PREFIX}NAME for any environment of Gymnasium"
        raise UserError(f"{unknown_name('task', name, _ENTRIES)}{others}")


def in_gymnasium(name: str) -> bool:
    """Returns whether a registered task is one of Gymnasium's."""
    return _entry(name).in_gymnasium


def gymnasium_name(name: str) -> str:
    """Returns what Gymnasium calls a task of its own."""
    return name.removeprefix(REGISTERED_PREFIX)


def register_task(name: str, xml: Path | str, define: "Callable[..., xinet_jax.tasks.task.Definition]") -> None:
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
    _ENTRIES[name] = Entry(define, Path(xml), in_gymnasium=False)


def choose_engine(name: str, engine: str) -> str:
    """Returns the engine that a task runs on: the one given, or for `auto` the best of its own where JAX computes.

    It asks JAX where it computes, which fixes its devices.
    """
    from xinet_jax.tasks.engines.physics import default_engine

    engines = _entry(name).engines
    if engine == "auto":
        return default_engine() if default_engine() in engines else engines[0]
    return engine


def exact_engine(name: str) -> str:
    """Returns the engine on which a task's saved policies are judged: MuJoCo's C engine where it has the task."""
    return _entry(name).engines[0]


def load_task(
    name: str, engine: str = "auto", mjx_impl: str = "jax", physics: str = "exact", **options: Any
) -> "xinet_jax.tasks.task.Task":
    """Returns a registered task on an engine.

    Args:
      name: its name.
      engine: what simulates it: `auto`, or one of the task's engines.
      mjx_impl: which of MJX's implementations: `jax` or `warp`.
      physics: `exact`, or `fast` for `xinet_jax.tasks.engines.fast`.
      options: of its definition, by Gymnasium's names, such as `ctrl_cost_weight`.

    Raises:
      UserError: for an unknown task, engine or option, or if something has to be installed first.
    """
    entry, options = _entry(name), checked_options(name, options)
    check_physics(name, engine, mjx_impl, physics)
    if entry.library:
        return entry.define(name.split("/", 1)[1], **options)
    import mujoco

    from xinet_jax.tasks.engines.fast import fast_physics
    from xinet_jax.tasks.engines.loading import quiet_deprecations
    from xinet_jax.tasks.task import make_task

    xml = entry.xml if isinstance(entry.xml, Path) else _gymnasium_models() / entry.xml
    with quiet_deprecations():
        try:
            model = mujoco.MjModel.from_xml_path(str(xml))
        except ValueError as error:
            raise UserError(f"task {name}: cannot load {xml}: {first_line(error)}") from None
    definition = entry.define(model, **options)
    if physics == "fast":
        model = fast_physics(model)
    return make_task(name, definition, model, choose_engine(name, engine), mjx_impl, options)


def check_physics(name: str, engine: str, mjx_impl: str, physics: str) -> None:
    """Raises UserError if a task cannot be simulated in such a way, or not before something is installed.

    Of engine `auto` it does not ask which one that is.
    """
    entry = _entry(name)
    for kind, value, allowed in (("engine", engine, ENGINES), ("physics", physics, PHYSICS)):
        if value not in allowed:
            raise unknown_name(kind, value, allowed)
    check_implementation(engine, mjx_impl)
    if engine not in ("auto", *entry.engines):
        raise UserError(f"{name} runs on engine {' or '.join(entry.engines)}, not on {engine}")
    if entry.library and entry.library.missing:
        raise UserError(f"{name} needs an extra: {entry.library.missing}")
    for kind, value, of_our_engines in (("physics", physics, "fast"), ("mjx_impl", mjx_impl, "warp")):
        if entry.library and value == of_our_engines:
            raise UserError(f"{kind} {value} is for tasks over our own engines, not for {name}")
    if mjx_impl == "warp" and importlib.util.find_spec("warp") is None:
        raise UserError("mjx_impl warp needs an extra: pip install 'xinet_jax[warp]'")


def describe_task(name: str) -> dict[str, Any]:
    """Returns what there is to know of a task: sizes, episodes, engines, options with defaults, what is missing."""
    entry = _entry(name)
    description = {
        "task": name,
        "engines": list(entry.engines),
        "in_gymnasium": entry.in_gymnasium,
        "missing": entry.library.missing if entry.library else None,
        "options": defaults(entry.define),
    }
    sizes = entry.sizes or _measured_sizes(name)
    return description | sizes._asdict()


def checked_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options of a task, lists as tuples. Raises UserError for a name or value that is not allowed."""
    return check_options(name, _entry(name).define, options)


def _entry(name: str) -> Entry:
    check_name(name)
    return _ENTRIES.get(name) or registered(name)


def _measured_sizes(name: str) -> Sizes:
    task = load_task(name, exact_engine(name))
    lengths = (task.observation_size, task.predicted_size, task.action_size)
    return Sizes(*lengths, task.dt, task.definition.episode_length)


def _gymnasium_models() -> Path:
    """Returns the folder with the models of Gymnasium's tasks, which is found without loading Gymnasium."""
    return Path(importlib.util.find_spec("gymnasium").origin).parent / "envs" / "mujoco" / "assets"
