"""The DeepMind Control Suite as MuJoCo Playground has it, on MJX: `playground/CheetahRun` and the others.

Zakka et al. 2025, MuJoCo Playground, arXiv 2502.08844; Tassa et al. 2018, DeepMind Control Suite, arXiv 1801.00690.
"""

from jaxtyping import Array

from xinet_jax.tasks.borrowed import Library, Sizes, borrow
from xinet_jax.tasks.loading import quiet_deprecations
from xinet_jax.tasks.task import Task


def _make(name: str) -> Task:
    from mujoco_playground import dm_control_suite

    with quiet_deprecations():
        environment = dm_control_suite.load(name, config_overrides={"impl": "jax"})

    def motion(state: object) -> tuple[Array, Array, Array]:
        return state.data.qpos, state.data.qvel, state.data.mocap_pos

    length = dm_control_suite.get_default_config(name).episode_length
    return borrow(f"playground/{name}", environment, environment.mj_model, motion, length, {})


PLAYGROUND = Library(
    "mujoco_playground",
    "playground",
    "mjx",
    {
        "AcrobotSwingup": Sizes(6, 1, 0.01),
        "AcrobotSwingupSparse": Sizes(6, 1, 0.01),
        "BallInCup": Sizes(8, 2, 0.02),
        "CartpoleBalance": Sizes(5, 1, 0.01),
        "CartpoleBalanceSparse": Sizes(5, 1, 0.01),
        "CartpoleSwingup": Sizes(5, 1, 0.01),
        "CartpoleSwingupSparse": Sizes(5, 1, 0.01),
        "CheetahRun": Sizes(17, 6, 0.01),
        "FingerSpin": Sizes(9, 2, 0.02),
        "FingerTurnEasy": Sizes(12, 2, 0.02),
        "FingerTurnHard": Sizes(12, 2, 0.02),
        "FishSwim": Sizes(24, 5, 0.04),
        "HopperHop": Sizes(15, 4, 0.02),
        "HopperStand": Sizes(15, 4, 0.02),
        "HumanoidStand": Sizes(67, 21, 0.025),
        "HumanoidWalk": Sizes(67, 21, 0.025),
        "HumanoidRun": Sizes(67, 21, 0.025),
        "PendulumSwingup": Sizes(3, 1, 0.02),
        "PointMass": Sizes(4, 2, 0.02),
        "ReacherEasy": Sizes(6, 2, 0.02),
        "ReacherHard": Sizes(6, 2, 0.02),
        "SwimmerSwimmer6": Sizes(25, 5, 0.03),
        "WalkerRun": Sizes(24, 6, 0.025),
        "WalkerStand": Sizes(24, 6, 0.025),
        "WalkerWalk": Sizes(24, 6, 0.025),
    },
    _make,
)
