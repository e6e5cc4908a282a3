"""The description of which units stand at the ends of every kernel, against the arrays that the modules make."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xinet_jax.networks import layout
from xinet_jax.networks.modules import Shape, make_networks
from xinet_jax.pruning import folding

DENSE = Shape(5, 2, 5, (3, 4), (2, 3), (7, 6), (8,))


@pytest.mark.parametrize(
    "shape",
    [
        DENSE,
        DENSE._replace(state_blocks=(), action_blocks=()),  # no extractor
        DENSE._replace(state_blocks=(4,), action_blocks=(3,)),  # one block
        DENSE._replace(state_blocks=(0, 0), action_blocks=(0, 0)),  # nothing left of it
        DENSE._replace(state_blocks=(0, 4), action_blocks=(2, 0)),
        DENSE._replace(state_blocks=(3, 0, 2), action_blocks=(0, 0, 1), actor_hidden=(1,)),
    ],
)
def test_every_array_has_ends_of_its_own_sizes(shape, key):
    made = make_networks(shape)
    params = {
        "ofenet": made.ofenet.init(key, jnp.zeros(5), jnp.zeros(2)).get("params", {}),
        "actor": made.actor.init(key, jnp.zeros(shape.state_features))["params"],
        "critic": made.critic.init(key, jnp.zeros(shape.action_features))["params"],
    }

    sizes = {}
    for layer in layout.stored(shape):
        units = layout.side_by_side(layer, layer.outputs, {}).shape
        sizes |= {(*layer.path, name): units for name in layer.vectors}
        if layer.inputs:
            sizes[layer.kernel] = (*layout.side_by_side(layer, layer.inputs, {}).shape, units[-1])
    assert sizes == {path: array.shape for path, array in layout.flat(params).items()}
    averages = {(*layer.path[1:], name) for layer in layout.stored(shape) for name in layer.averages}
    assert averages == set(layout.flat(made.ofenet.init(key, jnp.zeros(5), jnp.zeros(2)).get("batch_stats", {})))


def test_sizes_are_read_from_names():
    uneven = DENSE._replace(state_blocks=(3, 0, 2), action_blocks=(0, 0, 1))
    for shape in (DENSE, uneven, DENSE._replace(state_blocks=(), action_blocks=(), predicted=0)):
        sizes = {(group.network, group.name): group.size for group in layout.groups(shape)}
        assert layout.shape_from(5, 2, sizes) == shape


def test_ends_are_the_units_that_the_networks_read(key):
    """Closing one unit changes the outputs only by the kernels' rows that carry its value."""
    made = make_networks(DENSE)
    params = made.ofenet.init(key, jnp.zeros(5), jnp.zeros(2))
    heads = {
        "actor": made.actor.init(key, jnp.zeros(DENSE.state_features))["params"],
        "critic": made.critic.init(key, jnp.zeros(DENSE.action_features))["params"],
    }
    observation, action = jax.random.normal(key, (20, 5)), jax.random.normal(key, (20, 2))
    for branch in ("state", "action"):
        for block, width in enumerate(getattr(DENSE, f"{branch}_blocks")):
            units = layout.ones(DENSE, ("ofenet",))
            layers = list(units["ofenet"][branch])
            layers[block] = layers[block].at[width - 1].set(0.0)
            units["ofenet"][branch] = tuple(layers)
            without = folding.fold(DENSE, {"ofenet": params["params"]} | heads, units)["ofenet"]
            closed = made.ofenet.apply(params, observation, action, units["ofenet"])
            folded = made.ofenet.apply(params | {"params": without}, observation, action)
            np.testing.assert_allclose(closed, folded, atol=1e-5)
            whole = made.ofenet.apply(params, observation, action)
            assert np.abs(np.asarray(closed - whole)).max() > 1e-4
