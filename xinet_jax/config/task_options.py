"""The options of a configuration's task."""

from typing import Any

from xinet_jax.config.schema import Config
from xinet_jax.tasks.options import parse_options


def options_of_task(config: Config) -> dict[str, Any]:
    """Returns the task's options by name, Brax's backend among them. Raises UserError for text that is none."""
    backend = () if config.brax_backend is None else (f"backend={config.brax_backend}",)
    return parse_options((*config.task_options, *backend))
