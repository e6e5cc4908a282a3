import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xinet_jax.networks import modules as networks
from xinet_jax.networks.modules import DenseNet, Shape, make_networks, precision_on

WIDTHS = (4, 3, 5)


def concatenating_densenet(variables, x, gates, train):
    """The textbook form: every block reads the concatenation of everything before it."""
    params, statistics = variables["params"], variables["batch_stats"]
    inputs = x.shape[-1]
    features = [x]
    for k, width in enumerate(WIDTHS):
        first = sum(WIDTHS[:k])
        rows = [params["input"]["kernel"][:, first : first + width]]
        for source in range(k):
            offset = first - sum(WIDTHS[: source + 1])
            rows.append(params[f"block_{source + 1}"]["kernel"][:, offset : offset + width])
        kernel = jnp.concatenate(rows)
        assert kernel.shape == (inputs + first, width)
        hidden = jnp.concatenate(features, axis=-1) @ kernel
        running = statistics[f"norm_{k + 1}"]
        mean, var = (hidden.mean(0), hidden.var(0)) if train else (running["mean"], running["var"])
        norm = params[f"norm_{k + 1}"]
        hidden = (hidden - mean) / jnp.sqrt(var + 1e-3) * norm["scale"] + norm["bias"]
        features.append(gates[k] * nn.swish(hidden))
    return jnp.concatenate(features, axis=-1)


def test_densenet_is_the_concatenating_one(key):
    keys = jax.random.split(key, 6)
    x = jax.random.normal(keys[0], (32, 6))
    branch = DenseNet(WIDTHS)
    variables = branch.init(keys[1], x)
    noise = lambda k, tree: jax.tree.map(lambda a: a + 0.3 * jax.random.uniform(k, a.shape), tree)  # noqa: E731
    variables = {name: noise(k, tree) for k, (name, tree) in zip(keys[2:4], variables.items(), strict=True)}
    gates = tuple(jax.random.uniform(keys[4], (width,)) for width in WIDTHS)
    for train in (False, True):
        ours = branch.apply(variables, x, gates, train, mutable="batch_stats")[0]
        np.testing.assert_allclose(ours, concatenating_densenet(variables, x, gates, train), atol=2e-5)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_normalisation_is_exact_far_from_zero(spread, key):
    """Observations of 10,000 ± 1, against double precision. The products' own rounding is all that may be left."""
    x = 10_000.0 + spread * jax.random.normal(key, (256, 6))
    branch = DenseNet(WIDTHS)
    variables = branch.init(key, x)
    with jax.default_matmul_precision("highest"):
        features, updated = branch.apply(variables, x, None, True, mutable="batch_stats")
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)
    with jax.enable_x64(True):
        expected = concatenating_densenet(exact, np.asarray(x, np.float64), [1.0] * len(WIDTHS), True)
        hidden = np.asarray(x, np.float64) @ exact["params"]["input"]["kernel"][:, : WIDTHS[0]]
    np.testing.assert_allclose(features, expected, atol=0.02 if spread else 0.2)
    # Running averages start at 0 and 1, and move by a hundredth.
    np.testing.assert_allclose(
        updated["batch_stats"]["norm_1"]["var"], 0.99 + 0.01 * hidden.var(axis=0), rtol=1e-4, atol=1e-4
    )


def test_densenet_has_no_bias_that_its_normalisation_would_cancel(key):
    variables = DenseNet(WIDTHS).init(key, jnp.zeros(6))
    biases = {jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(variables["params"])}
    assert {name for name in biases if "bias" in name} == {f"['norm_{k + 1}']['bias']" for k in range(3)}


def test_densenet_starts_glorot_uniform_in_each_blocks_own_fan(key):
    branch = DenseNet((64, 64))
    params = branch.init(key, jnp.zeros(100))["params"]
    limits = [(6 / (100 + 64)) ** 0.5, (6 / (164 + 64)) ** 0.5]
    first, second = params["input"]["kernel"][:, :64], params["input"]["kernel"][:, 64:]
    for kernel, limit in ((first, limits[0]), (second, limits[1]), (params["block_1"]["kernel"], limits[1])):
        assert np.abs(kernel).max() <= limit
        np.testing.assert_allclose(np.std(kernel), limit / 3**0.5, rtol=0.05)


def test_features_in_parts_are_features(key):
    layer = networks.Linear(4)
    parts = tuple(jax.random.normal(key, (10, width)) for width in (3, 1, 5))
    params = layer.init(key, parts)
    whole = jnp.concatenate(parts, axis=-1)
    jax.tree.map(np.testing.assert_array_equal, params, layer.init(key, whole))
    np.testing.assert_allclose(layer.apply(params, parts), layer.apply(params, whole), atol=1e-5)
    branch = DenseNet(WIDTHS)
    variables = branch.init(key, parts)
    first, second, last = branch.apply(variables, parts)
    np.testing.assert_array_equal(first, parts[0])
    np.testing.assert_allclose(
        jnp.concatenate([first, second, last], axis=-1), branch.apply(variables, whole), atol=1e-5
    )


@pytest.mark.parametrize(
    ("precision", "algorithm"), [("tensorfloat32", "tf32"), ("tensorfloat32x3", "num_primitive_operations = 3")]
)
def test_products_in_tensorfloat32_are_asked_for_forward_and_backward(precision, algorithm):
    made = make_networks(Shape(4, 2, 4, (), (), (5,), (5,)), precision)
    params = jax.eval_shape(made.actor.init, jax.random.key(0), jnp.ones((3, 4)))
    gradient = jax.jit(jax.grad(lambda params, x: made.actor.apply(params, x).sum()))
    text = (
        gradient.trace(params, jax.ShapeDtypeStruct((3, 4), jnp.float32)).lower(lowering_platforms=("cuda",)).as_text()
    )
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert len(products) >= 4
    assert all(algorithm in line for line in products)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_only_gpus_have_tensorfloat32(precision):
    assert precision_on("cpu", "tensorfloat32") == precision_on("tpu", "tensorfloat32") == "float32"
    assert precision_on("gpu", "tensorfloat32") == "tensorfloat32"
    assert precision_on("cpu", precision) == precision_on("gpu", precision) == precision


def test_bfloat16_rounds_the_factors_of_every_product_and_nothing_else(key):
    rounded = lambda a: a.astype(jnp.bfloat16).astype(jnp.float32)  # noqa: E731
    keys = jax.random.split(key, 3)
    x, kernel, gradient = (jax.random.normal(k, s) for k, s in zip(keys, ((6, 50), (50, 3), (6, 3)), strict=True))
    layer = networks.Linear(3, "bfloat16", use_bias=False)
    output, pull_back = jax.vjp(lambda x, kernel: layer.apply({"params": {"kernel": kernel}}, x), x, kernel)
    by_x, by_kernel = pull_back(gradient)
    assert output.dtype == by_x.dtype == by_kernel.dtype == jnp.float32
    np.testing.assert_allclose(output, rounded(x) @ rounded(kernel), atol=1e-5)
    np.testing.assert_allclose(by_x, rounded(gradient) @ rounded(kernel).T, atol=1e-5)
    np.testing.assert_allclose(by_kernel, rounded(x).T @ rounded(gradient), atol=1e-5)
    assert np.abs(output - x @ kernel).max() > 1e-3
    made = make_networks(Shape(4, 2, 4, (3,), (3,), (5,), (5,)), "bfloat16")
    params = made.critic.init(key, jnp.ones((7, 12)))
    exact = make_networks(made.shape).critic
    z = jax.random.normal(key, (7, 12))
    assert 1e-5 < np.abs(made.critic.apply(params, z) - exact.apply(params, z)).max() < 0.1


def test_a_closed_gate_takes_the_unit_out(key):
    shape = Shape(4, 2, 4, (3,), (3,), (5,), (5,))
    net = make_networks(shape)
    observation, action = jnp.ones(4), jnp.ones(2)
    variables = net.ofenet.init(key, observation, action)
    gates = {"state": (jnp.array([1.0, 0.0, 1.0]),), "action": (jnp.ones(3),)}
    z_o = net.ofenet.apply(variables, observation, gates, method=net.ofenet.state_features)
    assert z_o.shape == (7,)
    assert z_o[5] == 0.0
    assert (z_o[jnp.array([4, 6])] != 0.0).all()


def test_twin_critics_are_two_different_functions(key):
    critic = networks.TwinCritic((8, 8))
    z = jax.random.normal(key, (10, 5))
    params = critic.init(key, z)
    values = critic.apply(params, z)
    assert values.shape == (2, 10)
    assert np.abs(values[0] - values[1]).max() > 1e-3
    gates = tuple(jnp.stack([jnp.ones(8), jnp.zeros(8)]) for _ in range(2))
    gated = critic.apply(params, z, gates)
    np.testing.assert_array_equal(gated[0], values[0])
    np.testing.assert_array_equal(gated[1], 0.0)  # biases start at zero


def test_policy_actions_lie_in_bounds_and_log_probability_is_the_squashed_gaussians(key):
    output = jnp.array([[0.5, -1.0, 0.2, -0.3]])
    action, log_probability = networks.policy_distribution(output).sample_and_log_prob(seed=key)
    assert (np.abs(action) < 1).all()
    raw, std = np.arctanh(np.asarray(action, np.float64)), np.exp([[0.2, -0.3]])
    gaussian = -0.5 * ((raw - [[0.5, -1.0]]) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)
    expected = (gaussian - np.log(1 - np.asarray(action) ** 2)).sum()
    np.testing.assert_allclose(log_probability[0], expected, rtol=1e-3)
    np.testing.assert_allclose(networks.policy_mode(output), np.tanh([[0.5, -1.0]]), rtol=1e-6)


@pytest.mark.parametrize("far", [0.0, 100.0])
def test_the_gradient_of_the_normalisation_is_that_of_its_formula(key, far):
    """Also batched, as members are."""
    keys = jax.random.split(key, 4)
    x = far + jax.random.normal(keys[0], (3, 16, 5))
    scale, bias, weights = (
        jax.random.normal(k, shape) for k, shape in zip(keys[1:], ((3, 5), (3, 5), (16, 5)), strict=True)
    )

    def plainly(x, scale, bias):
        return (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-3) * scale + bias

    def gradients(normalise):
        loss = lambda *arguments: (weights * jnp.square(normalise(*arguments))).sum()  # noqa: E731
        return jax.vmap(jax.grad(loss, argnums=(0, 1, 2)))(x, scale, bias)

    pairs = zip(gradients(lambda *arguments: networks._normalise(*arguments)[0]), gradients(plainly), strict=True)
    for ours, plain in pairs:
        np.testing.assert_allclose(ours, plain, rtol=1e-3, atol=1e-3)
