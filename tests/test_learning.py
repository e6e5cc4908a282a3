"""Learning from scratch, in minutes. Thresholds lie far below what the set-up reaches: they tell broken from not."""

import pytest

import xinet_jax


@pytest.mark.slow
def test_half_cheetah_learns_while_ofenet_shrinks(tmp_path):
    config = xinet_jax.make_config(steps=20_000, out=str(tmp_path / "run"))
    result = xinet_jax.train(config)
    layers = result.seeds[0].structure.layers
    ofenet = [layer for layer in layers if layer.network == "ofenet"]
    left = sum(layer.parameters for layer in ofenet) / sum(layer.parameters_before for layer in ofenet)
    assert result.seeds[0].returns.mean() > 400, "random actions return about -280"
    assert left < 0.6
