"""Presets, and fields given in their place."""

import pytest

from xinet_jax.agent import make_agent
from xinet_jax.config import KINDS, PRESETS, in_whole_rounds, load_config, make_config, round_of, save_config
from xinet_jax.errors import UserError
from xinet_jax.pruning.schedules import smallest_share
from xinet_jax.tasks.registry import in_gymnasium, task_names


@pytest.mark.parametrize("agent", [name for name in KINDS if not KINDS[name].needs_widths])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("task", [*filter(in_gymnasium, task_names()), "playground/CheetahRun", "brax/ant"])
def test_presets_pass_every_check(task, preset, agent, tmp_path):
    config = make_config(task, preset, agent)
    if KINDS[agent].scheduled:
        dense = make_agent(config, observation_size=376, action_size=17).dense
        assert smallest_share(dense, config.gated) < config.pruning.final_share
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_presets_with_several_environments_are_in_whole_rounds():
    for preset, cycle in (("many-envs", (32, 4)), ("playground", (128, 8))):
        config = make_config("Hopper-v5", preset)
        assert round_of(config) == cycle
        whole = in_whole_rounds(config)
        assert abs(whole.steps - config.steps) < 128
        if preset == "many-envs":
            assert whole == config


def test_rounds_are_whole():
    config = make_config("Hopper-v5", envs=32, update_ratio="3/32", theta_every=8, prune_every=100)
    whole = in_whole_rounds(config)
    assert (whole.steps, whole.random_steps, whole.eval_every, whole.log_every) == (40_000, 5_024, 5_024, 1_024)
    assert (whole.pruning.prune_stop, whole.pruning.theta_every, whole.pruning.prune_every) == (20_000, 9, 102)
    assert in_whole_rounds(whole) == whole
    assert in_whole_rounds(make_config("Hopper-v5")) == make_config("Hopper-v5")
    # What an agent does not read stays as it is.
    assert in_whole_rounds(make_config("Hopper-v5", agent="sac", envs=32)).pruning == make_config().pruning


@pytest.mark.parametrize(
    ("envs", "ratio", "words"),
    [
        (8, "1/3", "a whole number of updates for 8 environments, such as 3/8, not 1/3"),
        (1, 0.5, "a whole number of updates for 1 environment, such as 1, not 0.5"),
        (8, "-1/8", "a number above 0 or a fraction like 1/8, not -1/8"),
        (8, "zero", "a number above 0 or a fraction like 1/8, not zero"),
        (8, "1/0", "a number above 0 or a fraction like 1/8, not 1/0"),
        (8, float("inf"), "a number above 0 or a fraction like 1/8, not inf"),
        (2, "1e9", "at most 65536 updates at a time"),
    ],
)
def test_ratios_that_give_no_whole_round_are_refused(envs, ratio, words):
    with pytest.raises(UserError, match=f"update_ratio must (be|give) {words}"):
        make_config(envs=envs, update_ratio=ratio)


def test_the_default_is_one_update_at_a_time():
    assert round_of(make_config()) == (1, 1)
    assert round_of(make_config(envs=8)) == (8, 1)
    assert round_of(make_config(envs=8, update_ratio=1)) == round_of(make_config(envs=8, update_ratio="1")) == (8, 8)
    assert round_of(make_config(envs=3, update_ratio=1 / 3)) == (3, 1)


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
