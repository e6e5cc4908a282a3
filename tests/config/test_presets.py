"""Presets, and fields given in their place."""

import pytest

from xinet_jax.agent import make_agent
from xinet_jax.config import AGENTS, KINDS, load_config, make_config, save_config
from xinet_jax.pruning.schedules import smallest_share
from xinet_jax.tasks.registry import in_gymnasium, task_names


@pytest.mark.parametrize("agent", [name for name in AGENTS if not KINDS[name].needs_widths])
@pytest.mark.parametrize("preset", ["quick", "paper"])
@pytest.mark.parametrize("task", [*filter(in_gymnasium, task_names()), "playground/CheetahRun", "brax/ant"])
def test_presets_pass_every_check(task, preset, agent, tmp_path):
    config = make_config(task, preset, agent)
    if KINDS[agent].scheduled:
        dense = make_agent(config, observation_size=376, action_size=17).dense
        assert smallest_share(dense, config.gated) < config.pruning.final_share
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_paper_preset_has_the_published_sizes():
    for task, blocks, units in (
        ("HalfCheetah-v5", 8, 30),
        ("Humanoid-v5", 8, 30),
        ("Hopper-v5", 6, 40),
        ("Walker2d-v5", 6, 40),
    ):
        config = make_config(task, "paper")
        assert (config.networks.blocks, config.networks.block_units) == (blocks, units)
        assert blocks * units == 240
        assert config.networks.actor_hidden == config.networks.critic_hidden == (256, 256)
        assert (config.steps, config.random_steps, config.pretrain_updates) == (1_000_000, 10_000, 10_000)
