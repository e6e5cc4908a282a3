"""A pruner of your own: the units go first whose outputs are read with the smallest weights.

xinet train --import examples/outgoing.py --agent outgoing --final-share 0.4
"""

import jax
import jax.numpy as jnp

import xinet_jax
from xinet_jax.networks import layout


def outgoing(shape, params, alive, dense, origin, key):
    """Scores each unit by the sum of the absolute weights that read it. Pruned units do not count as readers."""
    arrays = layout.flat(params)

    def total(units):
        """Returns the sum of all absolute weights, each times the gate of the unit that it reads."""
        result = 0.0
        for layer in layout.stored(shape):
            if layer.inputs:  # it has a kernel, `[*twins, inputs, outputs]`
                read = layout.side_by_side(layer, layer.inputs, units)
                readers = layout.side_by_side(layer, layer.outputs, alive)
                result += jnp.sum(read[..., :, None] * jnp.abs(arrays[layer.kernel]) * readers[..., None, :])
        return result

    return jax.grad(total)(alive)


xinet_jax.register_pruner("outgoing", outgoing)
