"""Parameters and FLOPs as polynomials in theta (method, section 2).

Gates are independent, and no product contains the same gate twice. So the count at `theta` is exactly the expected
count under `xi ~ Bernoulli(theta)`. At gates of 0 and 1 it is the count of the compacted networks.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from xinet_jax.networks.layer_count import LayerCount
from xinet_jax.networks.layout import NETWORKS, TWINS, Group, complete, groups, layout, value_of
from xinet_jax.networks.modules import Shape
from xinet_jax.types import Units

Count = Float[Array, "*twins"] | np.ndarray | np.floating | float  # of the same kind as the gates


class Layer(NamedTuple):
    """One layer, with its numbers of inputs and of units at some gates.

    Attributes:
      network: ofenet, actor or critic.
      name: the layer's name within its network.
      inputs, units: (expected) counts; of the critics one per twin where they may differ.
      vectors: parameters per unit beside its weights: 1 for a bias, 2 for the scale and shift of a normalisation.
    """

    network: str
    name: str
    inputs: Count
    units: Count
    vectors: int

    @property
    def parameters(self) -> Count:
        """Weights, and a bias or the normalisation's scale and shift; of the critics one count per twin."""
        return self.units * (self.inputs + float(self.vectors))

    @property
    def flops(self) -> Count:
        """Multiplications and additions for one input: matrix product, and bias or normalisation; no activations."""
        return self.units * (2.0 * self.inputs + (self.vectors - 1.0))


def layers(shape: Shape, units: Units) -> list[Layer]:
    """Returns every layer with its counts at the given gates (theta, samples, or alive masks).

    Target critics are not counted; both critics are (method, section 2).
    """

    def count(group: Group) -> Count:
        if group.place and group.network in units:
            return value_of(group, units).sum(axis=-1)
        return np.full(2, float(group.size)) if group.network in TWINS else float(group.size)

    return _count_by(shape, count)


def layers_of(twins: tuple[Shape, Shape]) -> list[Layer]:
    """Returns every layer of an agent whose critics may have different widths, with its counts.

    Args:
      twins: the sizes with the first critic's widths, and with the second's.
    """
    sizes = [{(group.network, group.name): float(group.size) for group in groups(shape)} for shape in twins]

    def count(group: Group) -> Count:
        first, second = (twin[group.network, group.name] for twin in sizes)
        return np.array([first, second]) if group.place and group.network in TWINS else first

    return _count_by(twins[0], count)


def _count_by(shape: Shape, count: Callable[[Group], Count]) -> list[Layer]:
    """Returns every layer, by the (expected) number of units in each group."""
    counts, inputs, vectors = {group: count(group) for group in groups(shape)}, {}, {}
    for layer in layout(shape):
        sources = sum(counts[source] if source in counts else float(source.size) for source in layer.inputs)
        for group in layer.outputs:
            inputs[group] = inputs.get(group, 0.0) + sources
            vectors[group] = vectors.get(group, 0) + len(layer.vectors)
    return [Layer(g.network, g.name, inputs[g], counts[g], vectors[g]) for g in counts]


def total(shape: Shape, units: Units, cost: str = "parameters") -> Count:
    """Returns the (expected) count of `parameters` or `flops` over all networks, `[]`."""
    counts = [getattr(layer, cost) for layer in layers(shape, units)]
    return sum(count.sum() if isinstance(count, (jax.Array, np.ndarray)) else count for count in counts)


def dense_total(shape: Shape, cost: str = "parameters") -> int:
    """Returns the count of `parameters` or `flops` over all networks with no unit pruned."""
    return sum(dense_totals(shape, cost).values())


def dense_totals(shape: Shape, cost: str = "parameters") -> dict[str, int]:
    """Returns the count of `parameters` or `flops` of each network with no unit pruned; both critics together.

    From the sizes alone: no array is made, however large they are.
    """
    totals = dict.fromkeys(NETWORKS, 0)
    for layer in _count_by(shape, lambda group: group.size):
        totals[layer.network] += int(getattr(layer, cost)) * (2 if layer.network in TWINS else 1)
    return totals


def share(dense: Shape, shape: Shape, units: Units, cost: str = "parameters") -> Count:
    """Returns `C`, the count as a share of the dense networks', in [0, 1].

    Args:
      dense: the sizes before pruning.
      shape: the sizes of the arrays, which may have been compacted.
      units: gates of those arrays.
      cost: `parameters` or `flops`, of `xinet_jax.config.names.COSTS`.

    Examples:
      >>> dense = Shape(3, 1, 3, (), (), actor_hidden=(8,), critic_hidden=(8,))
      >>> half = {"actor": (np.full(8, 0.5),)}
      >>> dense_total(dense), round(float(share(dense, dense, half)), 3)
      (148, 0.838)
    """
    return total(shape, units, cost) / float(dense_total(dense, cost))


def count(dense: Shape, shape: Shape, alive: Units) -> tuple[LayerCount, ...]:
    """Returns every layer's counts at the dense start and at one agent's alive masks (no member axis)."""
    start, now = (jax.tree.map(_exact, complete(*pair)) for pair in ((dense, {}), (shape, alive)))
    return rows_of(layers(dense, start), layers(shape, now))


def rows_of(start: Sequence[Layer], now: Sequence[Layer]) -> tuple[LayerCount, ...]:
    """Returns one row for each layer, with twins as separate rows, in the order of the networks."""
    rows = []
    for before, after in zip(start, now, strict=True):
        twins = np.size(before.parameters)
        for twin in range(twins):
            numbers = []
            for attribute in ("units", "parameters", "flops"):
                for layer in (before, after):
                    numbers.append(round(float(np.broadcast_to(getattr(layer, attribute), twins)[twin])))
            network = f"{before.network}_{twin + 1}" if twins > 1 else before.network
            rows.append(LayerCount(network, before.name, *numbers))
    return tuple(sorted(rows, key=lambda row: ["ofenet", "actor", "critic_1", "critic_2"].index(row.network)))


def left(layers: Iterable[LayerCount], field: str = "parameters") -> float:
    """Returns the share of parameters (or flops, or units) that some layers have left; 1 if they had none."""
    layers = list(layers)
    before = sum(getattr(layer, f"{field}_before") for layer in layers)
    return sum(getattr(layer, field) for layer in layers) / before if before else 1.0


def _exact(gate: jax.Array | np.ndarray) -> np.ndarray:
    return np.asarray(gate, np.float64)  # counts above 2**24 are no longer whole in float32
