"""Every field by its own name, and the hyper-parameters that may have several values."""

import dataclasses

from xinet_jax import agent as agents
from xinet_jax.config import SWEPT, field_names, field_types, make_config, to_flat
from xinet_jax.config.fields import fields
from xinet_jax.training.members import identities


def test_field_names_are_unique_so_that_they_can_be_given_flat():
    config = make_config()
    nested = [f.name for section in (config.networks, config.sac, config.pruning) for f in dataclasses.fields(section)]
    top = [f.name for f in dataclasses.fields(config) if not dataclasses.is_dataclass(getattr(config, f.name))]
    assert len(set(top + nested)) == len(top + nested) == len(field_names()) == len(to_flat(config))


def test_hyper_parameters_are_in_the_order_of_members():
    """Files of older runs name their members in this order."""
    assert SWEPT == (
        "nu", "learning_rate", "discount", "tau", "target_entropy", "initial_temperature", "weight_decay",
        "theta_learning_rate", "estimator_floor", "nu_scale_ofenet", "nu_scale_actor", "nu_scale_critic",
    )  # fmt: skip
    assert [fields()[name].metadata["axis"] for name in SWEPT] == list(range(len(SWEPT)))
    config = make_config(nu_scale_actor=(1, 2), learning_rate=(1e-3, 1e-4), nu=(3, 4))
    assert [member.folder for member in identities(config)] == [
        f"nu_{nu}_learning_rate_{rate}_nu_scale_actor_{scale}_seed_0"
        for nu in (3, 4)
        for rate in (0.001, 0.0001)
        for scale in (1, 2)
    ]


def test_hyper_parameters_are_those_that_take_lists_of_numbers():
    lists = [name for name, hint in field_types().items() if "tuple[float" in str(hint)]
    assert sorted(lists) == sorted(SWEPT)


def test_every_hyper_parameter_reaches_the_agent():
    values = {name: 0.5 + index / 100 for index, name in enumerate(SWEPT)}
    hyper = agents.make_hyper(make_config(weights_see="mean", **values), action_size=6)
    assert hyper._asdict() == values
    assert agents.make_hyper(make_config(), action_size=6).target_entropy == -6.0


def test_every_number_declares_its_range():
    """What is named is checked elsewhere: prune_stop against other fields alone, update_ratio as a fraction."""
    numbers = {name for name, hint in field_types().items() if "int" in str(hint) or "float" in str(hint)}
    declared = {name for name, field in fields().items() if field.metadata.get("ranges")}
    assert numbers - declared == {"prune_stop", "update_ratio"}
