"""Mistakes in a configuration are refused in one line each."""

import pytest

from xinet_jax.config import make_config
from xinet_jax.config.declarations import Range, at_most
from xinet_jax.errors import UserError


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"task": "HalfChetah-v5"}, "unknown task 'HalfChetah-v5': did you mean 'HalfCheetah-v5'?"),
        ({"preset": "quik"}, "unknown preset 'quik': did you mean 'quick'?"),
        ({"precision": "bfloat"}, "unknown precision 'bfloat': did you mean 'bfloat16'?"),
        ({"devices": 0}, "devices must be at least 1, not 0"),
        ({"agent": "xnet"}, "unknown agent 'xnet': did you mean 'xinet'?"),
        ({"engine": "mujoco"}, "unknown engine 'mujoco'"),
        ({"estimator": "huen"}, "did you mean 'heun'?"),
        ({"weights_see": "means"}, "did you mean 'mean'?"),
        ({"gated": ("ofnet",)}, "unknown gated network 'ofnet': did you mean 'ofenet'?"),
        ({"gated": ("ofenet", "ofenet")}, "gated must be a list of different names, not ofenet ofenet"),
        ({"cost": "flop"}, "did you mean 'flops'?"),
        ({"target_entropy": float("-inf")}, "target_entropy must be finite"),
        ({"initial_temperature": float("inf")}, "initial_temperature must be above 0 and finite"),
        ({"gated": ()}, "gated must be one network or more"),
        ({"stepz": 5}, "unknown field 'stepz': did you mean 'steps'?"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"steps": "many"}, "steps must be a whole number"),
        ({"steps": True}, "steps must be a whole number"),
        ({"block_units": 0}, "block_units must be at least 1"),
        ({"blocks": -1}, "blocks must be at least 1"),
        ({"actor_hidden": (128, 0)}, "actor_hidden must be one or more widths, each at least 1, not 128 0"),
        ({"critic_hidden": ()}, "critic_hidden must be one or more widths, each at least 1, not empty"),
        ({"nu": -1.0}, "nu must be 0 or more, not -1.0"),
        ({"nu": float("nan")}, "nu must be a list, each item a number"),
        ({"nu": (1.0, 2.0, 1.0)}, "nu must be a list of different numbers"),
        ({"nu": (1.0, 2.0), "agent": "ofenet"}, "several values of nu are for agent xinet: agent ofenet has no price"),
        ({"nu_scale_actor": (1, 2), "gated": ("critic",)}, "of nu_scale_actor make no difference: actor is not gated"),
        ({"tau": (0.1, 1.5)}, "tau must be from 0 to 1, not 0.1 1.5"),
        ({"learning_rate": (1e-3, 1e-3)}, "learning_rate must be a list of different numbers"),
        ({"discount": ()}, "discount must be one number or more, not empty"),
        ({"seeds": 40_000, "tau": (0.1, 0.2)}, "seeds must be at most 65536 for all combinations of values together"),
        ({"nu": ()}, "nu must be one number or more"),
        ({"nu": float("inf")}, "nu must be 0 or more, not inf"),
        ({"prune_start": 40_000}, "prune_start must be below steps (40000)"),
        ({"random_steps": 40_000}, "random_steps must be at least 1 and below steps (40000)"),
        ({"prune_start_critic": 40_000, "gated": ("critic",)}, "prune_start_critic must be below steps (40000)"),
        ({"prune_start_actor": -1}, "prune_start_actor must be 0 or more"),
        ({"compact": "atuo"}, "unknown compact 'atuo': did you mean 'auto'?"),
        ({"agent": "random", "steps": 15_000}, "steps must be at least 15100, or the schedule does not end"),
        ({"agent": "random", "prune_start_actor": 3}, "prune_start_actor and prune_start_critic are for agent xinet"),
        ({"nu": (1.0, 1.0 + 1e-9)}, "nu must be a list of different numbers, to six digits"),
        ({"final_share": 0.0, "agent": "random"}, "final_share must be above 0 and at most 1"),
        ({"keep_share": 1.5}, "keep_share must be from 0 to below 1"),
        ({"estimator": "fisher", "weights_see": "mean"}, "weights_see must be open with estimator fisher, not mean"),
        ({"estimator": "fisher", "leave_out": 0.1}, "leave_out has no effect for estimator fisher"),
        ({"price": "found"}, "keep_share must be above 0 with price found, not 0"),
        ({"price": "found", "keep_share": 0.2, "prune_ramp": 0}, "prune_ramp must be above 0 with price found, not 0"),
        ({"price": "found", "keep_share": 0.2, "nu": 3.0}, "nu has no effect with price found"),
        ({"price": "found", "keep_share": 0.2, "nu": (3.0, 4.0)}, "nu must be left out with price found, not 3.0 4.0"),
        ({"price": "found", "keep_share": 0.2, "prune_start": 0}, "prune_start must be at least random_steps (5000)"),
        (
            {"price": "found", "keep_share": 0.2, "prune_stop": None},
            "prune_stop must be at least 15000 with price found",
        ),
        ({"price": "found", "keep_share": 0.2, "prune_ramp": 20_000}, "prune_stop must be at least 30000"),
        (
            {"price": "found", "keep_share": 0.2, "nu_scale_actor": 0.0},
            "nu_scale_actor must be above 0 with price found",
        ),
        ({"price": "found", "keep_share": 0.2, "theta_learning_rate": 0.0}, "theta_learning_rate must be above 0"),
        (
            {"price": "found", "keep_share": 0.7, "gated": ("ofenet",), "nu_scale_ofenet": 2.0},
            "nu_scale_ofenet has no effect with price found, where only ofenet is gated",
        ),
        ({"order": "magnitude"}, "estimator must be fisher with order magnitude, not heun"),
        ({"price": "found", "keep_share": 0.2, "prune_start_actor": 9}, "prune_start_actor must be left out"),
        ({"order": "magnitudes"}, "did you mean 'magnitude'?"),
        ({"keep_share": 0.4, "agent": "magnitude"}, "keep_share is for agent xinet, not for magnitude"),
        ({"prune_every": 0}, "prune_every must be at least 1"),
        ({"actor_waits": -1}, "actor_waits must be 0 or more, not -1"),
        ({"actor_waits": 100}, "actor_waits must be below prune_every (100), or the actor does not learn while units"),
        ({"actor_waits": 100, "agent": "magnitude"}, "actor_waits must be below prune_every (100)"),
        ({"actor_waits": 5, "agent": "ofenet"}, "actor_waits has no effect for agent ofenet"),
        ({"width_multiple": 0}, "width_multiple must be at least 1"),
        ({"agent": "small"}, "agent small needs widths_from"),
        ({"widths_from": "runs/a"}, "widths_from is for agent small, not for xinet"),
        ({"uniform_widths": True}, "uniform_widths is for agent small"),
        ({"discount": 1.5}, "discount must be from 0 to 1"),
        ({"learning_rate": 1e30}, "learning_rate must be at most 1e20, not 1e+30"),
        ({"learning_rate": 0.1, "weight_decay": 11.0}, "weight_decay must be at most 1 / learning_rate, not 11.0"),
        ({"leave_out": 0.0}, "leave_out must be above 0 and at most 0.5, not 0.0"),
        ({"leave_out": 0.6}, "leave_out must be above 0 and at most 0.5, not 0.6"),
        ({"leave_out": float("nan")}, "leave_out must be a number"),
        ({"theta_min": 0.0}, "theta_min must be between 0 and 1"),
        ({"out": ""}, "out must be a path"),
        ({"prune_ramp": 3_000_000_000}, "prune_ramp must be a smaller number"),
        ({"blocks": 10**9}, "blocks must be at most 1000"),
        ({"nu": 1e40}, "nu must be a smaller number"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"first_seed": 2**31 - 1, "seeds": 2}, "first_seed must be below"),
    ],
)
def test_bad_values_are_told_in_one_line(overrides, message):
    with pytest.raises(UserError) as caught:
        make_config(**overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"agent": "sac", "nu": 5.0}, "nu has no effect for agent sac: leave it out, rather than 5"),
        ({"agent": "sac", "gated": ("actor",)}, "gated has no effect for agent sac"),
        ({"agent": "sac", "blocks": 3}, "blocks has no effect for agent sac, which has no OFENet"),
        ({"agent": "ofenet", "prune_stop": None}, "prune_stop has no effect for agent ofenet"),
        ({"agent": "magnitude", "nu": 5.0}, "nu has no effect for agent magnitude"),
        ({"agent": "random", "prune_stop": 15_000}, "prune_stop has no effect for agent random"),
        ({"final_share": 0.5}, "final_share has no effect for agent xinet"),
        ({"gated": ("ofenet",), "nu_scale_actor": 0.5}, "nu_scale_actor has no effect where actor is not gated"),
        ({"gated": ("actor",), "actor_speaks": False}, "actor_speaks has no effect where ofenet is not gated"),
        ({"weights_see": "mean", "leave_out": 0.1}, "leave_out has no effect with weights_see mean"),
        ({"estimator_floor": 0.1}, "estimator_floor has no effect with weights_see open"),
        (
            {"weights_see": "mean", "estimator": "straight_through", "estimator_floor": 0.1},
            "estimator_floor has no effect for estimator straight_through",
        ),
        (
            {"gated": ("actor",), "prune_start_actor": 9_000, "prune_start": 8_000},
            "prune_start has no effect where every gated network has a start of its own",
        ),
        ({"compact": "off", "width_multiple": 4}, "width_multiple has no effect with compact off"),
        ({"replay_capacity": 1}, "replay_capacity must be at least batch_size (256), not 1"),
    ],
)
def test_a_setting_without_effect_is_refused(overrides, message):
    with pytest.raises(UserError) as caught:
        make_config(**overrides)
    assert message in str(caught.value)


def test_ends_of_a_range():
    closed, opened = Range("", least=0, most=1), Range("", above=0, below=1)
    assert [closed.holds(value) for value in (-0.1, 0, 0.5, 1, 1.1)] == [False, True, True, True, False]
    assert [opened.holds(value) for value in (-0.1, 0, 0.5, 1, 1.1)] == [False, False, True, False, False]
    assert at_most(3).holds(3)
    assert not at_most(3).holds(4)


def test_an_actor_waits_longer_where_all_units_go_at_once():
    assert make_config(agent="magnitude", prune_ramp=0, actor_waits=1000).pruning.actor_waits == 1000
    assert make_config(prune_every=2000, actor_waits=1000).pruning.actor_waits == 1000
