"""Rounds of training: a step of each of a member's environments together, and the updates that follow it."""

from fractions import Fraction
from typing import NamedTuple

from xinet_jax.config.fields import to_flat
from xinet_jax.config.presets import override
from xinet_jax.config.schema import Config
from xinet_jax.errors import UserError, brief

_LARGEST_DENOMINATOR = 2**16  # as many environments as there can be
_MOST_UPDATES = 2**16


class Round(NamedTuple):
    """A round of one member.

    Attributes:
      steps: environment steps: one in each of its environments.
      updates: updates after them.
    """

    steps: int = 1
    updates: int = 1


def round_of(config: Config) -> Round:
    """Returns the rounds that a configuration asks for.

    Raises:
      UserError: for a ratio that is not a positive number, or does not give a whole number of updates.

    Examples:
      >>> from xinet_jax.config import make_config
      >>> round_of(make_config(envs=32, update_ratio="1/8"))
      Round(steps=32, updates=4)
    """
    envs, ratio = config.envs, config.update_ratio
    if ratio is None:
        return Round(envs, 1)
    try:
        fraction = Fraction(ratio).limit_denominator(_LARGEST_DENOMINATOR)
    except (ValueError, OverflowError, ZeroDivisionError):
        fraction = Fraction(0)
    updates = fraction * envs
    if fraction <= 0:
        raise UserError(f"update_ratio must be a number above 0 or a fraction like 1/8, not {brief(ratio)}")
    if updates.denominator != 1:
        example = Fraction(max(1, round(updates)), envs)
        raise UserError(
            f"update_ratio must give a whole number of updates for {envs} environment{'s' * (envs > 1)}, such as "
            f"{example}, not {brief(ratio)}"
        )
    if updates > _MOST_UPDATES:
        raise UserError(f"update_ratio must give at most {_MOST_UPDATES} updates at a time, not {updates}")
    return Round(envs, int(updates))


def in_whole_rounds(config: Config) -> Config:
    """Returns a configuration whose numbers of steps are rounded up to whole rounds.

    The same goes for the numbers of updates from one step of theta, or one pruning, to the next.

    Examples:
      >>> from xinet_jax.config import make_config
      >>> in_whole_rounds(make_config(envs=32)).random_steps
      5024
    """
    each, flat = round_of(config), to_flat(config)
    units = dict.fromkeys(("steps", "random_steps", "eval_every", "log_every", "checkpoint_every"), each.steps)
    units |= {"prune_stop": each.steps, "theta_every": each.updates, "prune_every": each.updates}
    without_effect = {"prune_stop", "theta_every", "prune_every"} - set(config.kind.reads)
    rounded = {
        name: -(-flat[name] // unit) * unit
        for name, unit in units.items()
        if name not in without_effect and flat[name] is not None and unit > 1
    }
    return override(config, rounded)
