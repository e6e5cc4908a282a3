"""Configurations as YAML files."""

import pytest

from xinet_jax.config import load_config, make_config, save_config
from xinet_jax.errors import UserError
from xinet_jax.training.run_folder import choose_run_folder


def test_one_value_of_a_hyper_parameter_may_be_given_as_a_number(tmp_path):
    assert make_config(nu=3).pruning.nu == (3,)
    assert make_config(nu=[3, 4.5]).pruning.nu == (3, 4.5)
    save_config(make_config(tau=0.1, discount=(0.9, 0.99)), tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text()
    assert "tau: 0.1\n" in text, "and is saved as one"
    assert load_config(tmp_path / "config.yaml") == make_config(tau=0.1, discount=(0.9, 0.99))


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
