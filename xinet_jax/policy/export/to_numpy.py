"""A policy as NumPy's archive of arrays, with a small module that runs it without this package."""

import inspect
import io
import json

import numpy as np
from jaxtyping import Float

from xinet_jax.policy.export import numpy_policy
from xinet_jax.policy.forward import Network


def encode(network: Network, about: dict[str, str], name: str) -> tuple[bytes, bytes]:
    """Returns the archive (`.npz`, without pickle), and the source of the module that reads it.

    Args:
      network: the policy.
      about: what it is.
      name: not used.
    """
    arrays = {"scale": network.scale, "offset": network.offset, "about": json.dumps(about, allow_nan=False)}
    arrays["activations"] = [layer.activation for layer in network.layers]
    arrays["appends"] = [layer.appends for layer in network.layers]
    for k, layer in enumerate(network.layers):
        arrays |= {f"kernel_{k}": layer.kernel, f"bias_{k}": layer.bias}
    archive = io.BytesIO()
    np.savez(archive, **arrays)
    return archive.getvalue(), inspect.getsource(numpy_policy).encode()


def run(content: bytes, observations: Float[np.ndarray, "rows observation"]) -> Float[np.ndarray, "rows action"]:
    """Returns the actions of an archive."""
    policy, _ = numpy_policy.load(io.BytesIO(content))
    return policy(observations)
