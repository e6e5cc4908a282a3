"""Tasks by name."""

from pathlib import Path

import gymnasium.envs.mujoco
import mujoco

from xinet_jax.errors import unknown_name
from xinet_jax.tasks.half_cheetah import HALF_CHEETAH
from xinet_jax.tasks.hoppers import HOPPER, WALKER2D
from xinet_jax.tasks.loading import quiet_deprecations
from xinet_jax.tasks.task import Definition, Task, make_task

_DEFINITIONS: dict[str, Definition] = {
    "HalfCheetah-v5": HALF_CHEETAH,
    "Hopper-v5": HOPPER,
    "Walker2d-v5": WALKER2D,
}
_ASSETS = Path(gymnasium.envs.mujoco.__file__).parent / "assets"


def task_names() -> tuple[str, ...]:
    """Returns the registered tasks, which are also Gymnasium's names for them."""
    return tuple(_DEFINITIONS)


def load_task(name: str, engine: str = "auto") -> Task:
    """Returns a registered task on an engine (`auto`, `mjx` or `native`).

    Raises:
      UserError: for an unknown task or engine.
    """
    if name not in _DEFINITIONS:
        raise unknown_name("task", name, _DEFINITIONS)
    definition = _DEFINITIONS[name]
    with quiet_deprecations():
        model = mujoco.MjModel.from_xml_path(str(_ASSETS / definition.xml))
    return make_task(name, definition, model, engine)
