"""The tasks that come with the package, as plain data: they are listed, and their options checked, before anything that
simulates them is loaded.

tests/test_startup.py holds every number, name and type here against the functions and the models.
"""

import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from xinet_jax.tasks.names import BRAX_BACKENDS, BraxBackend

Range = tuple[float, float]
Options = Mapping[str, tuple[Any, Any]]  # type and default, by name


class Sizes(NamedTuple):
    """What a task has at its default options.

    Attributes:
      observation, predicted, action: length of the observation, of what OFENet predicts of it, and of the action.
      seconds_per_step: seconds per control step.
      episode_length: control steps after which an episode is cut off.
    """

    observation: int
    predicted: int
    action: int
    seconds_per_step: float
    episode_length: int = 1000


class Library(NamedTuple):
    """A library of tasks.

    Attributes:
      module: the module that has to be installed.
      extra: the extra of this package that installs it.
      engine: what simulates its tasks: `mjx`, or `brax` for its own physics.
      tasks: its tasks by the library's own names.
      options: what each of them takes.
    """

    module: str
    extra: str
    engine: str
    tasks: Mapping[str, Sizes]
    options: Options

    @property
    def missing(self) -> str | None:
        """The command that installs it, or None where it is installed."""
        return None if importlib.util.find_spec(self.module) else f"pip install 'xinet_jax[{self.extra}]'"


class Deferred:
    """A function that is imported when it is first called; its options are known before.

    Args:
      place: `module:function`.
      options: its arguments that have a default.
      any_option: whether it takes others too, which it checks itself.
    """

    def __init__(self, place: str, options: Options, any_option: bool = False):
        self.place, self.any_option = place, any_option
        keyword = inspect.Parameter.KEYWORD_ONLY
        self.__signature__ = inspect.Signature(
            inspect.Parameter(name, keyword, default=default, annotation=kind)
            for name, (kind, default) in options.items()
        )
        self.__annotations__ = {name: kind for name, (kind, _) in options.items()}

    def load(self) -> Callable[..., Any]:
        """Returns the function itself."""
        module, function = self.place.split(":")
        return getattr(importlib.import_module(module), function)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.load()(*arguments, **options)


class Entry(NamedTuple):
    """How a task is made.

    Attributes:
      define: `(model, **options) -> Definition`; of another library's task `(name, **options) -> Task`.
      xml: the model's file; a name alone is one of Gymnasium's; None for another library's task.
      engines: what can simulate it, the most exact first.
      in_gymnasium: whether Gymnasium has it, by the same name.
      library: whose it is, if it is another's.
      sizes: None for a user's task, whose model says them.
    """

    define: Callable[..., Any]
    xml: Path | str | None
    engines: tuple[str, ...] = ("native", "mjx")
    in_gymnasium: bool = True
    library: Library | None = None
    sizes: Sizes | None = None


def _gymnasium(place: str, xml: str, sizes: Sizes, options: Options) -> Entry:
    return Entry(Deferred(f"xinet_jax.tasks.gymnasium.{place}", options), xml, sizes=sizes)


_NO_POSITION = {"exclude_current_positions_from_observation": (bool, True)}
_HUMANOID_OBSERVATION = _NO_POSITION | {
    "include_cinert_in_observation": (bool, True),
    "include_cvel_in_observation": (bool, True),
    "include_qfrc_actuator_in_observation": (bool, True),
    "include_cfrc_ext_in_observation": (bool, True),
}

GYMNASIUM = {
    "HalfCheetah-v5": _gymnasium(
        "half_cheetah:half_cheetah",
        "half_cheetah.xml",
        Sizes(17, 17, 6, 0.05),
        {
            "forward_reward_weight": (float, 1.0),
            "ctrl_cost_weight": (float, 0.1),
            "reset_noise_scale": (float, 0.1),
        }
        | _NO_POSITION,
    ),
    "Hopper-v5": _gymnasium(
        "hoppers:hopper",
        "hopper.xml",
        Sizes(11, 11, 3, 0.008),
        {
            "forward_reward_weight": (float, 1.0),
            "ctrl_cost_weight": (float, 1e-3),
            "healthy_reward": (float, 1.0),
            "terminate_when_unhealthy": (bool, True),
            "healthy_state_range": (Range, (-100.0, 100.0)),
            "healthy_z_range": (Range, (0.7, inf)),
            "healthy_angle_range": (Range, (-0.2, 0.2)),
            "reset_noise_scale": (float, 5e-3),
        }
        | _NO_POSITION,
    ),
    "Walker2d-v5": _gymnasium(
        "hoppers:walker2d",
        "walker2d_v5.xml",
        Sizes(17, 17, 6, 0.008),
        {
            "forward_reward_weight": (float, 1.0),
            "ctrl_cost_weight": (float, 1e-3),
            "healthy_reward": (float, 1.0),
            "terminate_when_unhealthy": (bool, True),
            "healthy_z_range": (Range, (0.8, 2.0)),
            "healthy_angle_range": (Range, (-1.0, 1.0)),
            "reset_noise_scale": (float, 5e-3),
        }
        | _NO_POSITION,
    ),
    "Ant-v5": _gymnasium(
        "ant:ant",
        "ant.xml",
        Sizes(105, 27, 8, 0.05),
        {
            "forward_reward_weight": (float, 1.0),
            "ctrl_cost_weight": (float, 0.5),
            "contact_cost_weight": (float, 5e-4),
            "healthy_reward": (float, 1.0),
            "main_body": (int | str, 1),
            "terminate_when_unhealthy": (bool, True),
            "healthy_z_range": (Range, (0.2, 1.0)),
            "contact_force_range": (Range, (-1.0, 1.0)),
            "reset_noise_scale": (float, 0.1),
        }
        | _NO_POSITION
        | {"include_cfrc_ext_in_observation": (bool, True)},
    ),
    "Humanoid-v5": _gymnasium(
        "humanoids:humanoid",
        "humanoid.xml",
        Sizes(348, 270, 17, 0.015),
        {
            "forward_reward_weight": (float, 1.25),
            "ctrl_cost_weight": (float, 0.1),
            "contact_cost_weight": (float, 5e-7),
            "contact_cost_range": (Range, (-inf, 10.0)),
            "healthy_reward": (float, 5.0),
            "terminate_when_unhealthy": (bool, True),
            "healthy_z_range": (Range, (1.0, 2.0)),
            "reset_noise_scale": (float, 1e-2),
        }
        | _HUMANOID_OBSERVATION,
    ),
    "HumanoidStandup-v5": _gymnasium(
        "humanoids:humanoid_standup",
        "humanoidstandup.xml",
        Sizes(348, 270, 17, 0.015),
        {
            "uph_cost_weight": (float, 1.0),
            "ctrl_cost_weight": (float, 0.1),
            "impact_cost_weight": (float, 0.5e-6),
            "impact_cost_range": (Range, (-inf, 10.0)),
            "reset_noise_scale": (float, 1e-2),
        }
        | _HUMANOID_OBSERVATION,
    ),
    "Swimmer-v5": _gymnasium(
        "swimmer:swimmer",
        "swimmer.xml",
        Sizes(8, 8, 2, 0.04),
        {
            "forward_reward_weight": (float, 1.0),
            "ctrl_cost_weight": (float, 1e-4),
            "reset_noise_scale": (float, 0.1),
        }
        | _NO_POSITION,
    ),
    "Reacher-v5": _gymnasium(
        "arms:reacher",
        "reacher.xml",
        Sizes(10, 10, 2, 0.02, 50),
        {"reward_dist_weight": (float, 1.0), "reward_control_weight": (float, 1.0)},
    ),
    "Pusher-v5": _gymnasium(
        "arms:pusher",
        "pusher_v5.xml",
        Sizes(23, 23, 7, 0.05, 100),
        {
            "reward_near_weight": (float, 0.5),
            "reward_dist_weight": (float, 1.0),
            "reward_control_weight": (float, 0.1),
        },
    ),
    "InvertedPendulum-v5": _gymnasium(
        "pendulums:inverted_pendulum",
        "inverted_pendulum.xml",
        Sizes(4, 4, 1, 0.04),
        {"reset_noise_scale": (float, 0.01)},
    ),
    "InvertedDoublePendulum-v5": _gymnasium(
        "pendulums:inverted_double_pendulum",
        "inverted_double_pendulum.xml",
        Sizes(9, 9, 1, 0.05),
        {"healthy_reward": (float, 10.0), "reset_noise_scale": (float, 0.1)},
    ),
}

# Episodes of both libraries end after 1000 steps, by Playground's configurations and by `brax.envs.create`.
PLAYGROUND = Library(
    "mujoco_playground",
    "playground",
    "mjx",
    {
        "AcrobotSwingup": Sizes(6, 6, 1, 0.01),
        "AcrobotSwingupSparse": Sizes(6, 6, 1, 0.01),
        "BallInCup": Sizes(8, 8, 2, 0.02),
        "CartpoleBalance": Sizes(5, 5, 1, 0.01),
        "CartpoleBalanceSparse": Sizes(5, 5, 1, 0.01),
        "CartpoleSwingup": Sizes(5, 5, 1, 0.01),
        "CartpoleSwingupSparse": Sizes(5, 5, 1, 0.01),
        "CheetahRun": Sizes(17, 17, 6, 0.01),
        "FingerSpin": Sizes(9, 9, 2, 0.02),
        "FingerTurnEasy": Sizes(12, 12, 2, 0.02),
        "FingerTurnHard": Sizes(12, 12, 2, 0.02),
        "FishSwim": Sizes(24, 24, 5, 0.04),
        "HopperHop": Sizes(15, 15, 4, 0.02),
        "HopperStand": Sizes(15, 15, 4, 0.02),
        "HumanoidStand": Sizes(67, 67, 21, 0.025),
        "HumanoidWalk": Sizes(67, 67, 21, 0.025),
        "HumanoidRun": Sizes(67, 67, 21, 0.025),
        "PendulumSwingup": Sizes(3, 3, 1, 0.02),
        "PointMass": Sizes(4, 4, 2, 0.02),
        "ReacherEasy": Sizes(6, 6, 2, 0.02),
        "ReacherHard": Sizes(6, 6, 2, 0.02),
        "SwimmerSwimmer6": Sizes(25, 25, 5, 0.03),
        "WalkerRun": Sizes(24, 24, 6, 0.025),
        "WalkerStand": Sizes(24, 24, 6, 0.025),
        "WalkerWalk": Sizes(24, 24, 6, 0.025),
    },
    {},
)
# Without its swimmer: the one back end that has it calls NumPy's `clip` by a name that JAX no longer knows.
BRAX = Library(
    "brax",
    "brax",
    "brax",
    {
        "ant": Sizes(27, 27, 8, 0.05),
        "halfcheetah": Sizes(17, 17, 6, 0.05),
        "hopper": Sizes(11, 11, 3, 0.008),
        "humanoid": Sizes(244, 244, 17, 0.015),
        "humanoidstandup": Sizes(244, 244, 17, 0.015),
        "inverted_pendulum": Sizes(4, 4, 1, 0.04),
        "inverted_double_pendulum": Sizes(8, 8, 1, 0.02),
        "pusher": Sizes(23, 23, 7, 0.05),
        "reacher": Sizes(11, 11, 2, 0.02),
        "walker2d": Sizes(17, 17, 6, 0.008),
    },
    {"backend": (BraxBackend, BRAX_BACKENDS[0])},
)


def _library(prefix: str, library: Library) -> dict[str, Entry]:
    make = Deferred(f"xinet_jax.tasks.libraries.{prefix}:make", library.options)
    return {
        f"{prefix}/{name}": Entry(make, None, (library.engine,), False, library, sizes)
        for name, sizes in library.tasks.items()
    }


# Any environment of Gymnasium's registry, whose names are not known here: `registered(NAME)`.
REGISTERED = Library("gymnasium", "gymnasium", "gymnasium", {}, {})
REGISTERED_PREFIX = "gymnasium/"
_ENVIRONMENT = re.compile(r"[A-Za-z0-9_./-]+")


def registered(name: str) -> Entry | None:
    """Returns how the task of an environment of Gymnasium's registry is made; None if a name is not of one.

    Whether there is such an environment is known when it is made. A name that Gymnasium would import a module for, like
    `module:Name`, is none here: names come with files of policies.

    Examples:
      >>> registered("gymnasium/Pendulum-v1").engines
      ('gymnasium',)
      >>> registered("Pendulum-v1") is registered("gymnasium/module:Pendulum-v1") is None
      True
    """
    inner = name.removeprefix(REGISTERED_PREFIX)
    if inner == name or not _ENVIRONMENT.fullmatch(inner):
        return None
    make = Deferred("xinet_jax.tasks.libraries.gymnasium:make", {}, any_option=True)
    return Entry(make, None, (REGISTERED.engine,), True, REGISTERED)


BUILT_IN = GYMNASIUM | _library("playground", PLAYGROUND) | _library("brax", BRAX)
