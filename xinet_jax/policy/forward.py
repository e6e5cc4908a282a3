"""The forward pass of a saved policy: a list of affine layers, with all that was learned folded into them."""

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from xinet_jax.networks import layout
from xinet_jax.networks.layer_count import in_policy
from xinet_jax.networks.modules import BATCH_NORM_EPSILON, LOG_STD_MAX, LOG_STD_MIN
from xinet_jax.policy.structure import Structure
from xinet_jax.types import Tree


def _swish(x: Any, xp: ModuleType) -> Any:
    """Returns `x * sigmoid(x)`, without an exponential that overflows."""
    half = 0.5 * x
    return half * (1.0 + xp.tanh(half))


ACTIVATIONS: dict[str, Callable[[Any, ModuleType], Any]] = {
    "swish": _swish,
    "relu": lambda x, xp: xp.maximum(x, 0.0),
    "tanh": lambda x, xp: xp.tanh(x),
    "linear": lambda x, xp: x,
}


class Layer(NamedTuple):
    """One affine layer: `y = activation(x @ kernel + bias)`.

    Attributes:
      name: its name within the policy, as in `xinet inspect`.
      kernel, bias: its weights.
      activation: a key of `ACTIVATIONS`.
      appends: whether the next layer reads `[x, y]`, as in a DenseNet, and not `y` alone.
    """

    name: str
    kernel: Float[np.ndarray, "inputs units"]
    bias: Float[np.ndarray, " units"]
    activation: str
    appends: bool


class Network(NamedTuple):
    """A deterministic policy: `action = offset + scale * y`, where `y` is the last layer's output, in [-1, 1].

    Attributes:
      layers: in the order of the computation, the last of them with one unit per number of an action.
      scale, offset: from [-1, 1] to the task's actions.
    """

    layers: tuple[Layer, ...]
    scale: Float[np.ndarray, " action"]
    offset: Float[np.ndarray, " action"]

    @property
    def observation(self) -> int:
        """Length of an observation."""
        return self.layers[0].kernel.shape[0]

    @property
    def action(self) -> int:
        """Length of an action."""
        return len(self.scale)


def forward(
    layers: Iterable[Layer], x: Float[Array | np.ndarray, "*batch inputs"], xp: ModuleType = np
) -> Float[Array | np.ndarray, "*batch outputs"]:
    """Returns the output of the last layer.

    Args:
      layers: the layers, in order.
      x: the input of the first.
      xp: `numpy` or `jax.numpy`.
    """
    for layer in layers:
        y = ACTIVATIONS[layer.activation](x @ layer.kernel + layer.bias, xp)
        x = xp.concatenate([x, y], axis=-1) if layer.appends else y
    return x


def act(
    network: Network, observation: Float[Array | np.ndarray, "*batch observation"], xp: ModuleType = np
) -> Float[Array | np.ndarray, "*batch action"]:
    """Returns the deterministic actions. `xp`: `numpy` or `jax.numpy`.

    Examples:
      >>> head = Layer("head", np.ones((2, 1), np.float32), np.zeros(1, np.float32), "tanh", appends=False)
      >>> network = Network((head,), scale=np.full(1, 3.0, np.float32), offset=np.ones(1, np.float32))
      >>> act(network, np.zeros((2, 2), np.float32)).tolist()
      [[1.0], [1.0]]
    """
    return network.offset + network.scale * forward(network.layers, observation, xp)


def sample(
    layers: Iterable[Layer], observation: Float[np.ndarray, "*batch observation"], generator: np.random.Generator
) -> Float[np.ndarray, "*batch action"]:
    """Returns random actions in [-1, 1], drawn as in training from the squashed Gaussian that the actor describes.

    Args:
      layers: all layers (`folded`), the head's outputs being means and then logarithms of standard deviations.
      observation: the observations.
      generator: what draws.
    """
    mean, log_std = np.split(forward(layers, observation), 2, axis=-1)
    noise = generator.standard_normal(mean.shape, np.float32)
    return np.tanh(mean + np.exp(np.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)) * noise)


def folded(structure: Structure, arrays: dict[str, Tree]) -> tuple[Layer, ...]:
    """Returns a policy's layers, with the batch normalisation by running statistics folded into them.

    Layers without units are left out. The head is linear, with two outputs per number of an action: the mean, and the
    logarithm of the standard deviation.

    Args:
      structure: the policy's sizes.
      arrays: its arrays, as in `Policy.arrays`.
    """
    flat = {path: np.asarray(leaf, np.float32) for path, leaf in layout.flat(arrays).items()}
    modules = [
        layer
        for layer in layout.stored(structure.shape)
        if all(in_policy(group.network, group.name) for group in layer.outputs)
    ]
    layers = []
    for group in dict.fromkeys(group for module in modules for group in module.outputs if group.size):
        sources = [module for module in modules if module.inputs and group in module.outputs]
        kernel = np.concatenate([_columns(module, group, flat[module.kernel]) for module in sources])
        norms = [module for module in modules if module.averages and group in module.outputs]
        if norms:
            kernel, bias = _normalised(kernel, norms[0], flat)
            layers.append(Layer(group.name, kernel, bias, "swish", appends=True))
        else:
            activation = "linear" if group.name == "head" else "relu"
            layers.append(Layer(group.name, kernel, flat[*sources[0].path, "bias"], activation, appends=False))
    return tuple(layers)


def deterministic_network(structure: Structure, layers: tuple[Layer, ...]) -> Network:
    """Returns the network that computes the mean action, squashed, from all layers (`folded`)."""
    *hidden, head = layers
    kernel = np.ascontiguousarray(head.kernel[:, : structure.action])
    head = Layer(head.name, kernel, head.bias[: structure.action], "tanh", appends=False)
    scale, offset = (np.asarray(values, np.float32) for values in (structure.action_scale, structure.action_offset))
    return Network((*hidden, head), scale, offset)


def _columns(module: layout.Layer, group: layout.Group, kernel: np.ndarray) -> np.ndarray:
    """Returns the columns of a kernel that belong to one of the module's outputs."""
    before = layout.size(module.outputs[: module.outputs.index(group)])
    return kernel[:, before : before + group.size]


def _normalised(
    kernel: np.ndarray, norm: layout.Layer, flat: dict[layout.Path, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kernel and the bias of an affine layer that does the same as a kernel and its normalisation."""
    scale, bias = (flat[*norm.path, name] for name in ("scale", "bias"))
    mean, variance = (flat["statistics", *norm.path[1:], name] for name in ("mean", "var"))
    factor = scale / np.sqrt(variance + np.float32(BATCH_NORM_EPSILON))
    return kernel * factor, bias - mean * factor
