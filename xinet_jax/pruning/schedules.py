"""Baselines that prune on a schedule: the same fraction of every gated layer, chosen by weights or at random.

They use XiNet's gates and masks, so that all else is equal. Their gates are 0 or 1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from xinet_jax.config.kinds import KINDS, scheduled_kind
from xinet_jax.config.schema import PruningConfig
from xinet_jax.errors import UserError, brief
from xinet_jax.networks import complexity, layout
from xinet_jax.networks.modules import Shape
from xinet_jax.pruning import gates
from xinet_jax.types import Key, Scalar, Tree, Units

_BISECTIONS = 20  # resolve a unit of the widest layer that is allowed


def magnitude(shape: Shape, params: dict[str, Tree], alive: Units, dense: Shape, origin: Units, key: Key) -> Units:
    """Scores each unit by the squared norm of its incoming and outgoing kernel weights.

    This is the group norm of structured pruning (Fang et al. 2023, arXiv 2301.12900). Weights to and from pruned units
    do not count.
    """
    del dense, origin, key
    masks = layout.complete(shape, alive)
    score = jax.grad(lambda units: _energy(shape, params, units))(masks)
    return {name: score[name] for name in alive}


def random(shape: Shape, params: dict[str, Tree], alive: Units, dense: Shape, origin: Units, key: Key) -> Units:
    """Scores each unit at random."""
    del shape, params, alive
    return gates.uniform(key, dense, origin)


Score = Callable[[Shape, dict[str, Tree], Units, Shape, Units, Key], Units]
PRUNERS: dict[str, Score] = {"magnitude": magnitude, "random": random}


def register_pruner(name: str, score: Score) -> None:
    """Adds a pruner: `name` is then a kind of agent, which is pruned on the schedule of the baselines.

    Args:
      name: a new name.
      score: `(shape, params, alive, dense, origin, key) -> scores`. The units of lowest score in each layer go first.
        It gets the sizes of the arrays, one agent's parameters, masks of the units that are not pruned, the sizes
        before pruning, every unit's index before pruning, and a random key. It is compiled: `jax.numpy` throughout.

    Raises:
      UserError: for a name that is taken, or not like that of a variable.
    """
    if name in (*KINDS, "theta", "none") or not name.isidentifier():
        raise UserError(f"a pruner needs a name like a variable's, which no agent has, not {brief(name, quoted=True)}")
    PRUNERS[name], KINDS[name] = score, scheduled_kind(name)


def progress(rules: PruningConfig, age: Int[Array, ""] | int) -> Scalar:
    """Returns how much of `prune_ramp` has passed, 0 to 1, after some environment steps of pruning."""
    return jnp.clip(age / rules.prune_ramp, 0.0, 1.0) if rules.prune_ramp else 1.0 * (age >= 0)


def target_share(final_share: float, progress: Float[Array, ""] | float) -> Float[Array, ""]:
    """Returns the share of all parameters that is due: cubic from 1 to `final_share` (Zhu & Gupta 2017, eq. 1).

    Args:
      final_share: the share at the end.
      progress: how much of the schedule has passed, 0 to 1.

    Examples:
      >>> [float(target_share(0.25, progress)) for progress in (0.0, 0.5, 1.0)]
      [1.0, 0.34375, 0.25]
    """
    return final_share + (1.0 - final_share) * (1.0 - jnp.asarray(progress)) ** 3


def prune(dense: Shape, shape: Shape, score: Units, alive: Units, share: Float[Array, ""] | float) -> Units:
    """Prunes the units of lowest score, the same fraction of each gated layer, until a share of all parameters is left.

    Layers of actor and critics keep a unit; OFENet's may lose all.

    Args:
      dense: the sizes before pruning.
      shape: the sizes of the arrays.
      score: the units' scores, compared within each layer.
      alive: the present masks. Pruned units stay pruned.
      share: the share of the dense agent's parameters to reach.

    Returns:
      The new masks.
    """
    ranks = jax.tree.map(rank, score, alive)
    widths = layout.ones(dense, tuple(alive))

    def at(fraction: Float[Array, ""]) -> Units:
        def layer(name: str) -> Callable[[Array, Array, Array], Array]:
            def keep(rank: Array, mask: Array, full: Array) -> Array:
                count = jnp.maximum(jnp.round(fraction * full.shape[-1]), 0.0 if name == "ofenet" else 1.0)
                return mask * (rank < count)

            return keep

        return {name: jax.tree.map(layer(name), ranks[name], alive[name], widths[name]) for name in alive}

    def fits(masks: Units) -> Bool[Array, ""]:
        return complexity.share(dense, shape, masks) <= share

    fraction = bisect(lambda fraction: fits(at(fraction)), 0.0, 1.0, _BISECTIONS)
    # If all units fit already the fraction is 1.0, which a bisection only approaches.
    return at(jnp.where(fits(alive), 1.0, fraction))


def bisect(
    condition: Callable[[Float[Array, ""]], Bool[Array, ""]], true_at: float, false_at: float, iterations: int
) -> Float[Array, ""]:
    """Returns the number closest to `false_at` at which a condition still holds, by bisection.

    Args:
      condition: holds on one side of some number, and not on the other.
      true_at, false_at: a number at which it holds, and one at which it does not.
      iterations: each halves the error.

    Examples:
      >>> round(float(bisect(lambda x: x * x <= 2.0, 0.0, 2.0, iterations=20)), 5)
      1.41421
    """

    def halve(_: Int[Array, ""], ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = sum(ends) / 2.0
        holds = condition(middle)
        return jnp.where(holds, middle, ends[0]), jnp.where(holds, ends[1], middle)

    return jax.lax.fori_loop(0, iterations, halve, (jnp.float32(true_at), jnp.float32(false_at)))[0]


def smallest_share(dense: Shape, networks: tuple[str, ...], cost: str = "parameters", floor: float = 0.0) -> float:
    """Returns the share of all parameters, or FLOPs, that is left when networks have lost all units that they may.

    Args:
      dense: the sizes before pruning.
      networks: those that lose units.
      cost: `parameters` or `flops`.
      floor: theta of the lost units, above 0 for units that wait to be pruned.
    """
    left = {}
    for name, units in layout.ones(dense, networks).items():
        one = (lambda unit: unit * floor) if name == "ofenet" else (lambda unit: unit.at[..., 1:].set(floor))
        left[name] = jax.tree.map(one, units)
    return float(complexity.share(dense, dense, left, cost))


def rank(score: Float[Array, "*twins width"], alive: Float[Array, "*twins width"]) -> Array:
    """Returns each unit's rank within its layer: 0 for the highest score, pruned units last."""
    # Scores of a diverged agent may be NaN, which would be sorted behind pruned units.
    order = jnp.argsort(jnp.where(alive > 0.5, -jnp.nan_to_num(score), jnp.inf), axis=-1)
    return jnp.argsort(order, axis=-1)


def _energy(shape: Shape, params: dict[str, Tree], units: Units) -> Float[Array, ""]:
    """Returns half the squared norm of all kernels, each weight scaled by the gates at its two ends."""
    energy, arrays = jnp.zeros(()), layout.flat(params)
    for layer in layout.stored(shape):
        if layer.inputs:
            rows = layout.side_by_side(layer, layer.inputs, units)
            columns = layout.side_by_side(layer, layer.outputs, units)
            energy += 0.5 * jnp.sum(jnp.square(rows[..., :, None] * arrays[layer.kernel] * columns[..., None, :]))
    return energy
