"""Parameters and FLOPs as polynomials in theta (method, section 2).

Gates are independent and no product holds the same gate twice, so each count at `theta` is exactly the expected count
under `xi ~ Bernoulli(theta)`; at gates of 0 and 1 it is the count of the compacted networks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from xinet_jax import gates
from xinet_jax.gates import Units
from xinet_jax.networks import Shape

Count = Float[Array, "*twins"] | np.ndarray | np.floating | float  # whatever the gates are made of


class Layer(NamedTuple):
    """One layer, with the number of inputs and of units that its gates leave it.

    Attributes:
      network: ofenet, actor or critic.
      name: the layer's name within its network.
      inputs, units: (expected) counts; of the critics one per twin, where gates have a say.
      normalised: whether a batch normalisation follows, with a scale and a shift per unit.
    """

    network: str
    name: str
    inputs: Count
    units: Count
    normalised: bool

    @property
    def parameters(self) -> Count:
        """Weights, and a bias or the normalisation's scale and shift; of the critics one count per twin."""
        return self.units * (self.inputs + (2.0 if self.normalised else 1.0))

    @property
    def flops(self) -> Count:
        """Multiplications and additions for one input: matrix product, and bias or normalisation; no activations."""
        return self.units * (2.0 * self.inputs + (1.0 if self.normalised else 0.0))


def layers(shape: Shape, units: Units) -> list[Layer]:
    """Returns every layer with its counts at the given gates (theta, samples, or alive masks).

    Target critics are not counted; both critics are (method, section 2).
    """
    return _layers(shape, jax.tree.map(lambda gate: gate.sum(axis=-1), gates.complete(shape, units)))


def _layers(shape: Shape, widths: Units) -> list[Layer]:
    """The same, by the (expected) number of units in every hidden layer."""
    found: list[Layer] = []

    def densenet(branch: str, inputs: Count) -> Count:
        for k, width in enumerate(widths["ofenet"][branch]):
            found.append(Layer("ofenet", f"{branch}_{k + 1}", inputs, width, True))
            inputs = inputs + width
        return inputs

    def mlp(network: str, inputs: Count, outputs: int) -> None:
        for k, width in enumerate(widths[network]):
            found.append(Layer(network, f"hidden_{k + 1}", inputs, width, False))
            inputs = width
        found.append(Layer(network, "head", inputs, float(outputs), False))

    z_o = densenet("state", float(shape.observation))
    z_oa = densenet("action", z_o + shape.action)
    if shape.state_blocks or shape.action_blocks:
        found.append(Layer("ofenet", "predictor", z_oa, float(shape.predicted), False))
    mlp("actor", z_o, 2 * shape.action)
    mlp("critic", z_oa, 1)
    return found


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
    heads = {"actor": shape.actor_hidden, "critic": shape.critic_hidden}
    widths = {"ofenet": {"state": shape.state_blocks, "action": shape.action_blocks}, **heads}
    totals = dict.fromkeys(widths, 0)
    for layer in _layers(shape, widths):
        totals[layer.network] += int(getattr(layer, cost)) * (2 if layer.network == "critic" else 1)
    return totals


def share(dense: Shape, shape: Shape, units: Units, cost: str = "parameters") -> Count:
    """Returns `C`, the count as a share of the dense networks', in [0, 1].

    Args:
      dense: the sizes before pruning.
      shape: the sizes of the arrays, which may have been compacted.
      units: gates of those arrays.
      cost: `parameters` or `flops`, of `xinet_jax.names.COSTS`.
    """
    return total(shape, units, cost) / float(dense_total(dense, cost))


class LayerCount(NamedTuple):
    """One layer before and after pruning, in whole numbers. The twin critics are told apart: critic_1, critic_2."""

    network: str
    name: str
    units_before: int
    units: int
    parameters_before: int
    parameters: int
    flops_before: int
    flops: int


def count(dense: Shape, shape: Shape, alive: Units) -> tuple[LayerCount, ...]:
    """Returns every layer's counts at the dense start and at one agent's alive masks (no member axis)."""
    start, now = (jax.tree.map(_exact, gates.complete(*pair)) for pair in ((dense, {}), (shape, alive)))
    return rows_of(layers(dense, start), layers(shape, now))


def rows_of(start: Sequence[Layer], now: Sequence[Layer]) -> tuple[LayerCount, ...]:
    """Returns the rows of the same layers before and after, twins told apart, in the order of the networks."""
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


def _exact(gate: jax.Array | np.ndarray) -> np.ndarray:
    return np.asarray(gate, np.float64)  # counts above 2**24 are no longer whole in float32
