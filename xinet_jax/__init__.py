"""Reinforcement-learning agents that prune themselves while they learn, in JAX.

`make_config` makes a configuration, `branch_config` one that goes on from another run, and `train` runs it.
`load_policy` reads what a run saved; `evaluate` runs that in Gymnasium; `load_result` reads what became of a run;
`register_task` and `register_pruner` add a task and a pruner of your own.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xinet_jax.config import Config, load_config, make_config
    from xinet_jax.errors import UserError
    from xinet_jax.policy.evaluation import evaluate
    from xinet_jax.policy.files import load_policy
    from xinet_jax.policy.policy import Policy
    from xinet_jax.pruning.schedules import register_pruner
    from xinet_jax.tasks.registry import register_task
    from xinet_jax.tasks.task import Definition
    from xinet_jax.training.branch_config import branch_config
    from xinet_jax.training.results import MemberResult, Result, load_result
    from xinet_jax.training.run import train

__version__ = "0.1.0"

__all__ = [
    "Config",
    "Definition",
    "MemberResult",
    "Policy",
    "Result",
    "UserError",
    "branch_config",
    "evaluate",
    "load_config",
    "load_policy",
    "load_result",
    "make_config",
    "register_pruner",
    "register_task",
    "train",
]

# Each name is imported when it is first asked for: JAX and MuJoCo take seconds to load (PEP 562).
_MODULES = {
    "Config": "xinet_jax.config",
    "Definition": "xinet_jax.tasks.task",
    "MemberResult": "xinet_jax.training.results",
    "Policy": "xinet_jax.policy.policy",
    "Result": "xinet_jax.training.results",
    "UserError": "xinet_jax.errors",
    "branch_config": "xinet_jax.training.branch_config",
    "evaluate": "xinet_jax.policy.evaluation",
    "load_config": "xinet_jax.config",
    "load_policy": "xinet_jax.policy.files",
    "load_result": "xinet_jax.training.results",
    "make_config": "xinet_jax.config",
    "register_pruner": "xinet_jax.pruning.schedules",
    "register_task": "xinet_jax.tasks.registry",
    "train": "xinet_jax.training.run",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
