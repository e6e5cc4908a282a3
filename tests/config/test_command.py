import shlex

import pytest

from xinet_jax.command_line.parsing import train_config
from xinet_jax.config import make_config
from xinet_jax.config.command import differences, train_command


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"task": "Hopper-v5", "preset": "paper", "agent": "ofenet", "seeds": 3},
        {"task": "Ant-v5", "task_options": ("ctrl_cost_weight=0.2", "healthy_z_range=0.5,1.2")},
        {"nu": (100.0, 2.5), "learning_rate": (3e-4, 1e-05), "target_entropy": (-3.0,), "prune_stop": None},
        {"actor_speaks": False, "gated": ("ofenet", "actor"), "update_ratio": "1/8", "envs": 16, "compact": "end"},
        {"preset": "playground", "normalize_observations": False, "update_ratio": None, "keep_share": 0.4},
        {"agent": "magnitude", "final_share": 0.5, "width_multiple": 4},
    ],
)
def test_the_command_gives_the_configuration_again(settings):
    config = make_config(**settings)
    program, command, *arguments = shlex.split(train_command(config))
    assert (program, command) == ("xinet", "train")
    assert train_config(arguments) == config
    assert differences(train_config(arguments)) == differences(config)


def test_what_belongs_to_one_start_is_no_difference():
    config = make_config(out="somewhere", overwrite=True, devices=1, report=False, seeds=2)
    assert differences(config) == {"seeds": (2, 1)}
    assert train_command(config) == "xinet train --task HalfCheetah-v5 --seeds 2"
