"""The DeepMind Control Suite as MuJoCo Playground has it, on MJX: `playground/CheetahRun` and the others.

Zakka et al. 2025, MuJoCo Playground, arXiv 2502.08844; Tassa et al. 2018, DeepMind Control Suite, arXiv 1801.00690.
"""

from jaxtyping import Array

from xinet_jax.tasks.engines.loading import quiet_deprecations
from xinet_jax.tasks.libraries.borrowed import borrow
from xinet_jax.tasks.task import Task


def make(name: str) -> Task:
    """Returns one of Playground's tasks, by Playground's name."""
    from mujoco_playground import dm_control_suite

    with quiet_deprecations():
        environment = dm_control_suite.load(name, config_overrides={"impl": "jax"})

    def motion(state: object) -> tuple[Array, Array, Array]:
        return state.data.qpos, state.data.qvel, state.data.mocap_pos

    length = dm_control_suite.get_default_config(name).episode_length
    return borrow(f"playground/{name}", environment, environment.mj_model, motion, length, {})
