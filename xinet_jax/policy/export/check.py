"""Whether an exported policy computes what the policy does."""

import numpy as np
from jaxtyping import Float

from xinet_jax.errors import UserError
from xinet_jax.policy.forward import Network, act

ROWS = 1000  # observations
_TOLERANCE = 1e-4  # of an action's range
_ROUNDING = 10.0  # times the rounding error of the policy itself, where that is more


def random_observations(size: int) -> Float[np.ndarray, "rows size"]:
    """Returns normal observations, a row's standard deviation from 0.1 to 10. They are the same every time."""
    generator = np.random.default_rng(0)
    spread = 10.0 ** generator.uniform(-1.0, 1.0, (ROWS, 1))
    return (spread * generator.standard_normal((ROWS, size))).astype(np.float32)


def checked_difference(
    network: Network, observations: Float[np.ndarray, "rows observation"], actions: Float[np.ndarray, "rows action"]
) -> float:
    """Returns the largest difference between the policy's actions and others.

    Args:
      network: the policy.
      observations: what both act on.
      actions: the others.

    Raises:
      UserError: if it is more than rounding explains: a ten-thousandth of the range of actions, or ten times as much as
        the policy, in float32, differs from itself in float64.
    """
    expected = act(network, observations)
    rounding = float(np.abs(expected - act(network, observations.astype(np.float64))).max())
    difference = float(np.abs(actions - expected).max())
    allowed = max(_TOLERANCE * float(np.abs(network.scale).max()), _ROUNDING * rounding)
    if not difference <= allowed:  # true of NaN
        raise UserError(
            f"the exported policy is up to {difference:.2g} from the policy on {ROWS:,} observations, where rounding "
            f"allows {allowed:.2g}: nothing was written"
        )
    return difference
