"""Parameters and FLOPs as polynomials in theta (method, section 2).

Gates are independent and no product holds the same gate twice, so each count at `theta` is exactly the expected count
under `xi ~ Bernoulli(theta)`; at gates of 0 and 1 it is the count of the compacted networks.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from xinet_jax import gates
from xinet_jax.gates import Units
from xinet_jax.networks import Shape

COSTS = ("parameters", "flops")


class Layer(NamedTuple):
    """One layer, with the number of inputs and of units that its gates leave it.

    Attributes:
      network: ofenet, actor or critic.
      name: the layer's name within its network.
      inputs, units: (expected) counts, `[]`, or `[2]` for the twin critics.
      normalised: whether a batch normalisation follows, with a scale and a shift per unit.
    """

    network: str
    name: str
    inputs: Float[Array, "*twins"]
    units: Float[Array, "*twins"]
    normalised: bool

    @property
    def parameters(self) -> Float[Array, ""]:
        """Weights, biases, and normalisation scales and shifts."""
        return jnp.sum(self.units * (self.inputs + (3.0 if self.normalised else 1.0)))

    @property
    def flops(self) -> Float[Array, ""]:
        """Multiplications and additions for one input: matrix product with bias, and normalisation; no activations."""
        return jnp.sum(self.units * (2.0 * self.inputs + (2.0 if self.normalised else 0.0)))


def layers(shape: Shape, units: Units) -> list[Layer]:
    """Returns every layer with its counts at the given gates (theta, samples, or alive masks).

    Target critics are not counted; both critics are (method, section 2).
    """
    units = gates.complete(shape, units)
    found: list[Layer] = []

    def densenet(branch: str, inputs: Array) -> Array:
        for k, gate in enumerate(units["ofenet"][branch]):
            found.append(Layer("ofenet", f"{branch}_{k + 1}", inputs, jnp.sum(gate), True))
            inputs = inputs + jnp.sum(gate)
        return inputs

    def mlp(network: str, inputs: Array, outputs: int) -> None:
        for k, gate in enumerate(units[network]):
            width = jnp.sum(gate, axis=-1)
            found.append(Layer(network, f"hidden_{k + 1}", jnp.broadcast_to(inputs, width.shape), width, False))
            inputs = width
        found.append(Layer(network, "head", inputs, jnp.full(inputs.shape, float(outputs)), False))

    z_o = densenet("state", jnp.float32(shape.observation))
    z_oa = densenet("action", z_o + shape.action)
    if shape.state_blocks or shape.action_blocks:
        found.append(Layer("ofenet", "predictor", z_oa, jnp.float32(shape.predicted), False))
    mlp("actor", z_o, 2 * shape.action)
    mlp("critic", z_oa, 1)
    return found


def total(shape: Shape, units: Units, cost: str = "parameters") -> Float[Array, ""]:
    """Returns the (expected) count of `parameters` or `flops` over all networks."""
    return sum((getattr(layer, cost) for layer in layers(shape, units)), start=jnp.float32(0.0))


def share(shape: Shape, units: Units, cost: str = "parameters") -> Float[Array, ""]:
    """Returns `C`, the count as a share of the dense networks', in [0, 1]."""
    return total(shape, units, cost) / total(shape, {}, cost)


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


def count(shape: Shape, alive: Units) -> tuple[LayerCount, ...]:
    """Returns every layer's counts at the dense start and at one agent's alive masks (no member axis)."""
    rows = []
    for before, after in zip(layers(shape, {}), layers(shape, alive), strict=True):
        twins = before.inputs.shape[0] if before.inputs.ndim else 1
        for twin in range(twins):
            numbers: list[int] = []
            for attribute in ("units", "parameters", "flops"):
                for layer in (before, after):
                    inputs, units = (jnp.atleast_1d(x)[twin] for x in (layer.inputs, layer.units))
                    one = layer._replace(inputs=inputs, units=units)
                    numbers.append(round(float(getattr(one, attribute))))
            network = f"{before.network}_{twin + 1}" if twins > 1 else before.network
            rows.append(LayerCount(network, before.name, *numbers))
    return tuple(sorted(rows, key=lambda row: (row.network.startswith("critic") and row.network) or ""))
