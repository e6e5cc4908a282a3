import dataclasses

import pytest

from xinet_jax.agent.state import Hyper
from xinet_jax.agent.update import make_agent
from xinet_jax.config import NETWORKS, SWEPT, field_names, load_config, make_config, save_config, to_flat
from xinet_jax.errors import UserError
from xinet_jax.pruning.schedules import PRUNERS, smallest_share
from xinet_jax.tasks.registry import in_gymnasium, task_names
from xinet_jax.training.run_folder import choose_run_folder


@pytest.mark.parametrize("agent", ["sac", "ofenet", "xinet", "magnitude", "random"])
@pytest.mark.parametrize("preset", ["quick", "paper"])
@pytest.mark.parametrize("task", [*filter(in_gymnasium, task_names()), "playground/CheetahRun", "brax/ant"])
def test_presets_are_allowed_and_survive_a_round_trip(task, preset, agent, tmp_path):
    config = make_config(task, preset, agent)
    if agent in PRUNERS:
        dense = make_agent(config, observation_size=376, action_size=17).dense
        assert smallest_share(dense, config.gated) < config.pruning.final_share
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_paper_preset_has_the_published_sizes():
    for task, blocks, units in (("HalfCheetah-v5", 8, 30), ("Hopper-v5", 6, 40), ("Walker2d-v5", 6, 40)):
        config = make_config(task, "paper")
        assert (config.networks.blocks, config.networks.block_units) == (blocks, units)
        assert blocks * units == 240
        assert config.networks.actor_hidden == config.networks.critic_hidden == (256, 256)
        assert (config.steps, config.random_steps, config.pretrain_updates) == (1_000_000, 10_000, 10_000)


def test_field_names_are_unique_so_that_they_can_be_given_flat():
    config = make_config()
    nested = [f.name for section in (config.networks, config.sac, config.pruning) for f in dataclasses.fields(section)]
    top = [f.name for f in dataclasses.fields(config) if not dataclasses.is_dataclass(getattr(config, f.name))]
    assert len(set(top + nested)) == len(top + nested) == len(field_names()) == len(to_flat(config))


def test_agents_that_prune_have_gates():
    for agent in ("xinet", "magnitude", "random"):
        assert make_config(agent=agent).gated == ("ofenet", "actor", "critic")
    assert make_config(agent="xinet", gated=("ofenet",)).gated == ("ofenet",)
    assert make_config(agent="ofenet").gated == make_config(agent="sac").gated == ()


def test_one_value_of_a_hyper_parameter_may_be_given_as_a_number(tmp_path):
    assert make_config(nu=3).pruning.nu == (3,)
    assert make_config(nu=[3, 4.5]).pruning.nu == (3, 4.5)
    save_config(make_config(tau=0.1, discount=(0.9, 0.99)), tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text()
    assert "tau: 0.1\n" in text, "and is saved as one"
    assert load_config(tmp_path / "config.yaml") == make_config(tau=0.1, discount=(0.9, 0.99))


def test_every_hyper_parameter_of_a_member_may_have_several_values():
    leaves = {name for name in Hyper._fields if name != "nu_scale"} | {f"nu_scale_{name}" for name in NETWORKS}
    assert set(SWEPT) == leaves


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
        ({"gated": ("ofenet", "ofenet")}, "gated must be a list of different networks, not ofenet ofenet"),
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
        ({"keep_share": 0.4, "agent": "magnitude"}, "keep_share is for agent xinet, not for magnitude"),
        ({"prune_every": 0}, "prune_every must be at least 1"),
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
    ("text", "message"),
    [
        ("- 1", "must be a mapping"),
        ("a: [", "cannot read configuration"),
        ("task: !!python/object/apply:os.system ['true']", "cannot read configuration"),
        ("stepz: 1", "did you mean 'steps'?"),
        ("pruning: {nu: -3}", "nu must be 0 or more, not -3"),
        ("networks: 3", "unknown field 'networks'"),
        ("1: 2", "must be a mapping"),
        ("sac: {nu: 3}", "field nu belongs into section pruning, not into section sac"),
        ("nu: 3", "field nu belongs into section pruning, not to the top"),
        ("sac: {1: 3}", "unknown field '1'"),
        ("sac: {tau: .nan}", "tau must be a list, each item a number"),
        ("sac: {tau: nan}", "tau must be a list, each item a number"),
        ("sac: {tau: 1e-2x}", "tau must be a list, each item a number"),
        ("pruning: {nu: 1e999}", "nu must be 0 or more, not inf"),
        ("steps: 1e3", "steps must be a whole number, not 1000.0"),
    ],
)
def test_broken_configuration_files_are_told_in_one_line(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_config(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="cannot read"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("number", ["3e-4", "3E-4", "+3.e-4", ".3e-3", "3.0e-4", "0.0003", "'3e-4'"])
def test_numbers_in_a_file_may_have_exponents(number, tmp_path):
    """YAML 1.1 takes most of these for texts."""
    (tmp_path / "config.yaml").write_text(f"sac: {{learning_rate: {number}, tau: [{number}, 1e-2]}}")
    config = load_config(tmp_path / "config.yaml")
    assert config == make_config(learning_rate=3e-4, tau=[3e-4, 0.01])


def test_texts_in_a_file_stay_texts(tmp_path):
    (tmp_path / "config.yaml").write_text("out: 1e3\n")
    assert load_config(tmp_path / "config.yaml").out == "1e3"


def test_a_file_is_read_as_utf_8_wherever_it_is(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_bytes("out: läufe\n".encode())
    monkeypatch.setattr(type(tmp_path), "read_text", lambda *_, **__: pytest.fail("in the encoding of the place"))
    assert load_config(tmp_path / "config.yaml").out == "läufe"


def test_fields_that_a_file_leaves_out_are_the_presets(tmp_path):
    (tmp_path / "config.yaml").write_text("task: Hopper-v5\npreset: paper\npruning: {nu: 3}\n")
    assert load_config(tmp_path / "config.yaml") == make_config("Hopper-v5", "paper", nu=3)


def test_a_run_of_before_can_be_overwritten_whatever_its_settings(tmp_path):
    """Older versions accepted settings without effect; whose run is overwritten did not choose them."""
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "config.yaml").write_text("agent: sac\npretrain_updates: 0\n")
    config = make_config(agent="sac", out=str(folder), overwrite=True)
    assert choose_run_folder(config) == folder
    with pytest.raises(UserError, match=r"config\.yaml: pretrain_updates has no effect for agent sac"):
        load_config(folder / "config.yaml")
