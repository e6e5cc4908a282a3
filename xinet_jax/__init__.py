"""Reinforcement-learning agents that prune themselves while they learn, in JAX.

`train` runs a configuration made by `make_config`; `load_policy` reads what it saved; `evaluate` runs that in
Gymnasium; `register_task` adds a task of your own.
"""

from xinet_jax.config import Config, load_config, make_config
from xinet_jax.errors import UserError
from xinet_jax.evaluation import evaluate
from xinet_jax.policy import Policy, load_policy
from xinet_jax.tasks.registry import register_task
from xinet_jax.tasks.task import Definition
from xinet_jax.training.results import MemberResult, Result
from xinet_jax.training.runner import train

__version__ = "0.1.0"

__all__ = [
    "Config",
    "Definition",
    "MemberResult",
    "Policy",
    "Result",
    "UserError",
    "evaluate",
    "load_config",
    "load_policy",
    "make_config",
    "register_task",
    "train",
]
