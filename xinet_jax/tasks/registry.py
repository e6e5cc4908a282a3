"""Tasks by name."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium.envs.mujoco
import mujoco

from xinet_jax.errors import UserError, brief, unknown_name
from xinet_jax.tasks.ant import ant
from xinet_jax.tasks.arms import pusher, reacher
from xinet_jax.tasks.borrowed import Library
from xinet_jax.tasks.brax import BRAX
from xinet_jax.tasks.fast import fast_physics
from xinet_jax.tasks.half_cheetah import half_cheetah
from xinet_jax.tasks.hoppers import hopper, walker2d
from xinet_jax.tasks.humanoids import humanoid, humanoid_standup
from xinet_jax.tasks.loading import quiet_deprecations
from xinet_jax.tasks.options import check_options, defaults
from xinet_jax.tasks.pendulums import inverted_double_pendulum, inverted_pendulum
from xinet_jax.tasks.physics import ENGINES, PHYSICS, check_implementation, default_engine
from xinet_jax.tasks.playground import PLAYGROUND
from xinet_jax.tasks.swimmer import swimmer
from xinet_jax.tasks.task import Definition, Task, make_task

_ASSETS = Path(gymnasium.envs.mujoco.__file__).parent / "assets"


class _Entry(NamedTuple):
    """How a task is made.

    Attributes:
      define: `(model, **options) -> Definition`; of another library's task `(name, **options) -> Task`.
      xml: the model's file; None for another library's task.
      engines: what can simulate it, the most exact first.
      in_gymnasium: whether Gymnasium has it, by the same name.
      library: whose it is, if it is another's.
    """

    define: Callable[..., Any]
    xml: Path | None
    engines: tuple[str, ...] = ("native", "mjx")
    in_gymnasium: bool = True
    library: Library | None = None


_ENTRIES: dict[str, _Entry] = {
    "HalfCheetah-v5": _Entry(half_cheetah, _ASSETS / "half_cheetah.xml"),
    "Hopper-v5": _Entry(hopper, _ASSETS / "hopper.xml"),
    "Walker2d-v5": _Entry(walker2d, _ASSETS / "walker2d_v5.xml"),
    "Ant-v5": _Entry(ant, _ASSETS / "ant.xml"),
    "Humanoid-v5": _Entry(humanoid, _ASSETS / "humanoid.xml"),
    "HumanoidStandup-v5": _Entry(humanoid_standup, _ASSETS / "humanoidstandup.xml"),
    "Swimmer-v5": _Entry(swimmer, _ASSETS / "swimmer.xml"),
    "Reacher-v5": _Entry(reacher, _ASSETS / "reacher.xml"),
    "Pusher-v5": _Entry(pusher, _ASSETS / "pusher_v5.xml"),
    "InvertedPendulum-v5": _Entry(inverted_pendulum, _ASSETS / "inverted_pendulum.xml"),
    "InvertedDoublePendulum-v5": _Entry(inverted_double_pendulum, _ASSETS / "inverted_double_pendulum.xml"),
}
_LIBRARIES = {"playground": PLAYGROUND, "brax": BRAX}
_ENTRIES |= {
    f"{prefix}/{name}": _Entry(library.make, None, (library.engine,), False, library)
    for prefix, library in _LIBRARIES.items()
    for name in library.tasks
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
    _ENTRIES[name] = _Entry(define, Path(xml), in_gymnasium=False)


def choose_engine(name: str, engine: str) -> str:
    """Returns the engine that a task runs on: the one given, or for `auto` the best of its own where JAX computes.

    It asks JAX where it computes, which fixes its devices.
    """
    engines = _entry(name).engines
    if engine == "auto":
        return default_engine() if default_engine() in engines else engines[0]
    return engine


def exact_engine(name: str) -> str:
    """Returns the engine on which a task's saved policies are judged: MuJoCo's C engine where it has the task."""
    return _entry(name).engines[0]


def load_task(name: str, engine: str = "auto", mjx_impl: str = "jax", physics: str = "exact", **options: Any) -> Task:
    """Returns a registered task on an engine.

    Args:
      name: its name.
      engine: what simulates it: `auto`, or one of the task's engines.
      mjx_impl: which of MJX's implementations: `jax` or `warp`.
      physics: `exact`, or `fast` for `xinet_jax.tasks.fast`.
      options: of its definition, by Gymnasium's names, such as `ctrl_cost_weight`.

    Raises:
      UserError: for an unknown task, engine or option, or if something has to be installed first.
    """
    entry, options = _entry(name), checked_options(name, options)
    check_physics(name, engine, mjx_impl, physics)
    if entry.library:
        return entry.define(name.split("/", 1)[1], **options)
    with quiet_deprecations():
        try:
            model = mujoco.MjModel.from_xml_path(str(entry.xml))
        except ValueError as error:
            reason = (str(error).splitlines() or ["it is no model"])[0]
            raise UserError(f"task {name}: cannot load {entry.xml}: {reason[:200]}") from None
    definition = entry.define(model, **options)
    if physics == "fast":
        model = fast_physics(model)
    return make_task(name, definition, model, choose_engine(name, engine), mjx_impl, options)


def check_physics(name: str, engine: str, mjx_impl: str, physics: str) -> None:
    """Raises UserError if a task cannot be simulated in such a way, or not before something is installed.

    Of engine `auto` it does not ask which one that is.
    """
    entry = _entry(name)
    for kind, given, allowed in (("engine", engine, ENGINES), ("physics", physics, PHYSICS)):
        if given not in allowed:
            raise unknown_name(kind, given, allowed)
    check_implementation(engine, mjx_impl)
    if engine not in ("auto", *entry.engines):
        raise UserError(f"{name} runs on engine {' or '.join(entry.engines)}, not on {engine}")
    if entry.library and entry.library.missing:
        raise UserError(f"{name} needs an extra: {entry.library.missing}")
    for kind, given, own in (("physics", physics, "fast"), ("mjx_impl", mjx_impl, "warp")):
        if entry.library and given == own:
            raise UserError(f"{kind} {own} is for tasks over our own engines, not for {name}")
    if mjx_impl == "warp" and importlib.util.find_spec("warp") is None:
        raise UserError("mjx_impl warp needs an extra: pip install 'xinet_jax[warp]'")


def describe_task(name: str) -> dict[str, Any]:
    """Returns what there is to know of a task: sizes, episodes, engines, options with defaults, what is missing."""
    entry = _entry(name)
    found = {
        "task": name,
        "engines": list(entry.engines),
        "in_gymnasium": entry.in_gymnasium,
        "missing": entry.library.missing if entry.library else None,
        "options": defaults(entry.define),
    }
    if entry.library:
        sizes = entry.library.tasks[name.split("/", 1)[1]]
        own = (sizes.observation, sizes.observation, sizes.action, sizes.dt, sizes.episode_length)
    else:
        task = load_task(name, "native")
        sizes = (task.observation_size, task.predicted_size, task.action_size)
        own = (*sizes, task.dt, task.definition.episode_length)
    names = ("observation", "predicted", "action", "seconds_per_step", "episode_length")
    return found | dict(zip(names, own, strict=True))


def checked_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options of a task, lists as tuples. Raises UserError for a name or value that is not allowed."""
    return check_options(name, _entry(name).define, options)


def _entry(name: str) -> _Entry:
    if name not in _ENTRIES:
        raise unknown_name("task", name, _ENTRIES)
    return _ENTRIES[name]
