"""The networks: OFENet, actor and twin critics, each with a gate on every hidden unit.

A gate is a factor of its unit's activation, or a `Gate`. `gates=None` stands for gates of one, and compiles to no
multiplication.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xinet_jax.types import Tree, Units


class Gate(NamedTuple):
    """Gates that leave means behind: an activation `x` becomes `scale * x + mean * E[x]`, over the batch."""

    scale: Float[Array, "..."]
    mean: Float[Array, "..."]


Gates = tuple[Float[Array, "..."] | Gate, ...] | None
Features = Float[Array, "..."] | tuple[Float[Array, "..."], ...]  # `[*batch, features]`, whole or in parts

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0  # Haarnoja et al. 2018


class Shape(NamedTuple):
    """The sizes that determine every array of an agent.

    Attributes:
      observation, action: lengths of observation and action.
      predicted: leading observation dimensions that OFENet predicts.
      state_blocks, action_blocks: units that each DenseNet block adds, per branch; empty without an extractor.
      actor_hidden, critic_hidden: widths of the hidden layers.
    """

    observation: int
    action: int
    predicted: int
    state_blocks: tuple[int, ...]
    action_blocks: tuple[int, ...]
    actor_hidden: tuple[int, ...]
    critic_hidden: tuple[int, ...]

    @property
    def state_features(self) -> int:
        """Length of z_o."""
        return self.observation + sum(self.state_blocks)

    @property
    def action_features(self) -> int:
        """Length of z_oa."""
        return self.state_features + self.action + sum(self.action_blocks)


@jax.custom_vjp
def _bfloat16_product(x: Float[Array, "*batch inputs"], kernel: Float[Array, "inputs units"]) -> Array:
    """Returns `x @ kernel` with factors rounded to bfloat16 and sums in float32; its gradients likewise."""
    return _rounded_einsum("...i,iu->...u", x, kernel)


def _bfloat16_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _bfloat16_product(x, kernel), (x, kernel)


def _bfloat16_backward(factors: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = factors
    by_x = _rounded_einsum("...u,iu->...i", gradient, kernel)
    return by_x, _rounded_einsum("...i,...u->iu", x, gradient)


def _rounded_einsum(pattern: str, a: Array, b: Array) -> Array:
    a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)

    def in_float32(a: Array, b: Array) -> Array:  # on CPUs XLA lacks some products of bfloat16
        return jnp.einsum(pattern, a.astype(jnp.float32), b.astype(jnp.float32))

    def native(a: Array, b: Array) -> Array:
        return jnp.einsum(pattern, a, b, preferred_element_type=jnp.float32)

    return jax.lax.platform_dependent(a, b, cpu=in_float32, default=native)


_bfloat16_product.defvjp(_bfloat16_forward, _bfloat16_backward)

# Matrix products of the networks, by precision. float32 is full float32, also where devices would take shortcuts. Those
# in TensorFloat-32 are of GPUs: factors keep 10 of 23 bits, and "x3" adds the products of what the rounding took away.
PRODUCTS: dict[str, Callable[[Array, Array], Array]] = {
    "float32": partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST),
    "tensorfloat32": partial(jnp.matmul, precision=jax.lax.DotAlgorithmPreset.TF32_TF32_F32),
    "tensorfloat32x3": partial(jnp.matmul, precision=jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3),
    "bfloat16": _bfloat16_product,
}


class Linear(nn.Module):
    """An affine map of features, which may come in parts: each part is multiplied by its rows of the kernel.

    A part that several layers read, such as z_o, is then multiplied once in a compiled program. A part that needs no
    gradient gets none. At the published sizes this saves a tenth of an update's FLOPs.
    """

    units: int
    precision: str = "float32"
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Features) -> Float[Array, "*batch units"]:
        parts = x if isinstance(x, tuple) else (x,)
        sizes = [part.shape[-1] for part in parts]
        kernel = self.param("kernel", self.kernel_init, (sum(sizes), self.units))
        rows = jnp.split(kernel, np.cumsum(sizes[:-1]))
        product = PRODUCTS[self.precision]
        output = sum(product(part, weights) for part, weights in zip(parts, rows, strict=True))
        return output + self.param("bias", nn.initializers.zeros, (self.units,)) if self.use_bias else output


def gated(x: Float[Array, "*batch units"], gate: Float[Array, " units"] | Gate) -> Float[Array, "*batch units"]:
    """Returns activations behind their gates."""
    return gate.scale * x + gate.mean * _batch_mean(x) if isinstance(gate, Gate) else x * gate


def _record(module: nn.Module, layer: int, output: Float[Array, "*batch units"]) -> None:
    """Records a layer's outputs in the collection `outputs`, which `xinet_jax.pruning.substitutes` reads."""
    if not module.is_initializing():
        module.sow("outputs", f"output_{layer + 1}", output)


def _batch_mean(x: Float[Array, "*batch units"]) -> Float[Array, " units"]:
    return x.reshape(-1, x.shape[-1]).mean(axis=0)


def _computed_once(x: Array) -> Array:
    """Makes XLA store an array on accelerators; otherwise each kernel that reads it would sum it again."""
    return jax.lax.platform_dependent(x, cpu=lambda x: x, default=jax.lax.optimization_barrier)


BATCH_NORM_EPSILON, _MOMENTUM = 1e-3, 0.99  # of the batch normalisation; Keras's, as in OFENet's code


@jax.custom_vjp
def _normalise(x: Float[Array, "batch units"], scale: Array, bias: Array) -> tuple[Array, Array, Array]:
    """Returns `x` normalised over the batch, and the mean and variance. These two have no gradient.

    Both moments are taken in one pass, of deviations from the batch's first row: the difference of two large moments
    would be lost to rounding where activations are far from zero. The row is of the batch, so its own squared deviation
    is below the batch size times the variance. The gradient takes one pass for its two sums as well.
    """
    return _normalise_forward(x, scale, bias)[0]


def _normalise_forward(x: Array, scale: Array, bias: Array) -> tuple[tuple[Array, Array, Array], tuple]:
    deviation = x - x[0]
    shift, square = deviation.mean(axis=0), jnp.square(deviation).mean(axis=0)
    variance = jnp.maximum(square - jnp.square(shift), 0.0)
    inverse = jax.lax.rsqrt(variance + BATCH_NORM_EPSILON)
    normalised = (deviation - shift) * inverse
    return (normalised * scale + bias, x[0] + shift, variance), (normalised, inverse, scale)


def _normalise_backward(residuals: tuple, gradients: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    (normalised, inverse, scale), (gradient, _, _) = residuals, gradients
    by_bias, by_scale = gradient.sum(axis=0), (gradient * normalised).sum(axis=0)
    rows = gradient.shape[0]
    by_x = scale * inverse * (gradient - (by_bias + normalised * by_scale) / rows)
    return by_x, by_scale, by_bias


_normalise.defvjp(_normalise_forward, _normalise_backward)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015), with flax's names of parameters and running averages."""

    @nn.compact
    def __call__(self, x: Float[Array, "*batch units"], train: bool) -> Float[Array, "*batch units"]:
        """Normalises by the batch's statistics and updates the running ones, or reads those."""
        units = x.shape[-1:]
        mean = self.variable("batch_stats", "mean", jnp.zeros, units)
        variance = self.variable("batch_stats", "var", jnp.ones, units)
        scale = self.param("scale", nn.initializers.ones, units)
        bias = self.param("bias", nn.initializers.zeros, units)
        if not train:
            return (x - mean.value) * (jax.lax.rsqrt(variance.value + BATCH_NORM_EPSILON) * scale) + bias
        output, batch_mean, batch_variance = _normalise(x.reshape(-1, *units), scale, bias)
        if not self.is_initializing():
            mean.value = _MOMENTUM * mean.value + (1 - _MOMENTUM) * jax.lax.stop_gradient(batch_mean)
            variance.value = _MOMENTUM * variance.value + (1 - _MOMENTUM) * jax.lax.stop_gradient(batch_variance)
        return output.reshape(x.shape)


class DenseNet(nn.Module):
    """A DenseNet branch: `x_l = [x_{l-1}, g_l * swish(norm(W_l x_{l-1}))]` (Ota et al. 2020).

    Blocks have no bias, since the normalisation would subtract it.

    Kernels are stored by source, not by block: `input` maps the branch's input to all blocks, and `block_k` maps block
    k's output to all later blocks. So nothing is concatenated between blocks, and removing a unit removes one row of
    one kernel.
    """

    widths: tuple[int, ...]
    precision: str = "float32"

    @nn.compact
    def __call__(self, x: Features, gates: Gates = None, train: bool = False) -> Features:
        """Returns the features `[*batch, inputs + sum(widths)]`, the input first, then block after block.

        Args:
          x: the branch's input; if it comes in parts, the result does too, with the blocks' outputs in the last.
          gates: one `[width]` array per block.
          train: normalise by the batch's statistics and update the running ones, instead of reading those.
        """
        if not sum(self.widths):
            return x
        *first, last = x if isinstance(x, tuple) else (x,)
        fan_in = sum(part.shape[-1] for part in (*first, last))
        init = self._init_rows(0, fan_in)
        pending = Linear(sum(self.widths), self.precision, use_bias=False, kernel_init=init, name="input")(x)
        outputs = [last]
        for k, width in enumerate(self.widths):
            pre_activation, pending = pending[..., :width], pending[..., width:]
            if not width:
                continue
            output = nn.swish(BatchNorm(name=f"norm_{k + 1}")(pre_activation, train))
            if gates is not None:
                output = gated(output, gates[k])
            _record(self, k, output)
            outputs.append(output)
            if pending.shape[-1]:
                init = self._init_rows(k + 1, fan_in)
                to_later = Linear(
                    pending.shape[-1], self.precision, use_bias=False, kernel_init=init, name=f"block_{k + 1}"
                )
                pending = _computed_once(pending + to_later(output))
        features = jnp.concatenate(outputs, axis=-1)
        return (*first, features) if isinstance(x, tuple) else features

    def _init_rows(self, first: int, inputs: int):
        """Returns a Glorot-uniform initialiser for the columns of blocks `first` on, by each block's full fan-in."""

        def init(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
            limits = []
            for block in range(first, len(self.widths)):
                fan = inputs + sum(self.widths[:block]) + self.widths[block]
                limits.append(jnp.full(self.widths[block], (6.0 / fan) ** 0.5, dtype))
            return jax.random.uniform(key, shape, dtype, -1.0, 1.0) * jnp.concatenate(limits)

        return init


class OFENet(nn.Module):
    """The online feature extractor: `z_o = phi_o(o)`, `z_oa = phi_oa([z_o, a])`, and a linear prediction from z_oa."""

    state_blocks: tuple[int, ...]
    action_blocks: tuple[int, ...]
    predicted: int
    precision: str = "float32"

    def setup(self) -> None:
        self.state = DenseNet(self.state_blocks, self.precision)
        self.action = DenseNet(self.action_blocks, self.precision)
        if self.state_blocks or self.action_blocks:
            self.predictor = Linear(self.predicted, self.precision)

    def state_features(self, observation: Array, gates: dict | None = None, train: bool = False) -> Array:
        """Returns z_o, `[*batch, state_features]`."""
        return self.state(observation, gates and gates["state"], train)

    def action_features(self, z_o: Array, action: Array, gates: dict | None = None, train: bool = False) -> Features:
        """Returns z_oa in two parts, z_o and what depends on the action: `[*batch, action_features]` together."""
        return self.action((z_o, action), gates and gates["action"], train)

    def __call__(self, observation: Array, action: Array, gates: dict | None = None, train: bool = False) -> Features:
        """Returns the predicted next observation, `[*batch, predicted]`. Without blocks there is no predictor, and the
        features are returned."""
        z_o = self.state_features(observation, gates, train)
        z_oa = self.action_features(z_o, action, gates, train)
        return self.predictor(z_oa) if self.state_blocks or self.action_blocks else z_oa


class MLP(nn.Module):
    """Gated ReLU layers and a linear head."""

    hidden: tuple[int, ...]
    outputs: int
    precision: str = "float32"

    @nn.compact
    def __call__(self, x: Features, gates: Gates = None) -> Array:
        """Returns `[*batch, outputs]`. `gates`: one `[width]` array per hidden layer."""
        for k, width in enumerate(self.hidden):
            x = nn.relu(Linear(width, self.precision, name=f"hidden_{k + 1}")(x))
            if gates is not None:
                x = gated(x, gates[k])
            _record(self, k, x)
        return Linear(self.outputs, self.precision, name="head")(x)


class TwinCritic(nn.Module):
    """Two critics side by side; every array has a leading axis of two."""

    hidden: tuple[int, ...]
    precision: str = "float32"

    @nn.compact
    def __call__(self, z_oa: Features, gates: Gates = None) -> Float[Array, "2 *batch"]:
        """Returns both action values. `gates`: one `[2, width]` array per hidden layer."""
        twins = nn.vmap(
            MLP, in_axes=(None, 0), variable_axes={"params": 0, "outputs": 0}, split_rngs={"params": True}, axis_size=2
        )
        return twins(self.hidden, 1, self.precision, name="twins")(z_oa, gates)[..., 0]


class Networks(NamedTuple):
    """The modules of one agent, the sizes they were made for, and the precision of their matrix products."""

    shape: Shape
    precision: str
    ofenet: OFENet
    actor: MLP
    critic: TwinCritic


def precision_on(platform: str, precision: str) -> str:
    """Returns the precision of matrix products on JAX's platform: float32 for tensorfloat32 where there is none."""
    return "float32" if precision == "tensorfloat32" and platform != "gpu" else precision


def make_networks(shape: Shape, precision: str = "float32") -> Networks:
    """Returns the modules for given sizes. `precision`: a key of `PRODUCTS` that the platform has (`precision_on`)."""
    return Networks(
        shape=shape,
        precision=precision,
        ofenet=OFENet(shape.state_blocks, shape.action_blocks, shape.predicted, precision),
        actor=MLP(shape.actor_hidden, 2 * shape.action, precision),
        critic=TwinCritic(shape.critic_hidden, precision),
    )


def policy_distribution(actor_output: Float[Array, "*batch outputs"]) -> distrax.Distribution:
    """Returns the squashed Gaussian policy from the actor's output: means, then log standard deviations."""
    mean, log_std = jnp.split(actor_output, 2, axis=-1)
    std = jnp.exp(jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX))
    return distrax.Transformed(distrax.MultivariateNormalDiag(mean, std), distrax.Block(distrax.Tanh(), 1))


def policy_mode(actor_output: Float[Array, "*batch outputs"]) -> Float[Array, "*batch action"]:
    """Returns the deterministic action: the squashed mean."""
    mean, _ = jnp.split(actor_output, 2, axis=-1)
    return jnp.tanh(mean)


def state_features(
    networks: Networks, params: Tree, statistics: Tree, units: Units, observation: Float[Array, "*batch observation"]
) -> Float[Array, "*batch features"]:
    """Returns z_o by OFENet's running statistics.

    Args:
      networks: the modules.
      params, statistics: OFENet's parameters and running averages.
      units: the gates; only OFENet's are used.
      observation: `[*batch, observation]`.
    """
    variables, ofenet = {"params": params, "batch_stats": statistics}, networks.ofenet
    return ofenet.apply(variables, observation, units.get("ofenet"), method=ofenet.state_features)


def action_features(
    networks: Networks,
    params: Tree,
    statistics: Tree,
    units: Units,
    z_o: Float[Array, "*batch features"],
    action: Float[Array, "*batch action"],
) -> Features:
    """Returns z_oa from z_o and actions by OFENet's running statistics, in two parts (see `OFENet.action_features`)."""
    variables, ofenet = {"params": params, "batch_stats": statistics}, networks.ofenet
    return ofenet.apply(variables, z_o, action, units.get("ofenet"), method=ofenet.action_features)
