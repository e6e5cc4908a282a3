"""The table of kinds of agents."""

import dataclasses

import pytest

from xinet_jax.agent import make_agent
from xinet_jax.config import KINDS, NETWORKS, PruningConfig, make_config
from xinet_jax.networks import layout
from xinet_jax.training.phases import segments


def config_of(kind, **overrides):
    """Returns a configuration of an agent of some kind."""
    widths = {"widths_from": "runs/a"} if KINDS[kind].needs_widths else {}
    return make_config(agent=kind, **widths, **overrides)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_an_extractor_or_none(kind):
    config = config_of(kind)
    dense = make_agent(config, observation_size=17, action_size=6).dense
    assert bool(dense.state_blocks) == config.kind.extractor
    assert ("pretrain" in [segment.phase for segment in segments(config)]) == config.kind.extractor


def test_gates_are_where_the_kind_or_the_setting_says():
    for kind in ("xinet", "magnitude", "random"):
        assert config_of(kind).gated == NETWORKS
        assert config_of(kind, gated=("ofenet",)).gated == ("ofenet",)
    assert config_of("ofenet").gated == config_of("sac").gated == ()
    assert config_of("small").gated == NETWORKS


def test_what_prunes_is_what_the_kind_says():
    pruners = {kind: config_of(kind).pruner for kind in KINDS}
    none = dict.fromkeys(("sac", "ofenet", "small"), "none")
    assert pruners == none | {"xinet": "theta", "magnitude": "magnitude", "random": "random"}


def test_every_rule_of_pruning_is_read_by_some_kind():
    rules = {field.name for field in dataclasses.fields(PruningConfig)}
    assert set().union(*(kind.reads for kind in KINDS.values())) == rules
    assert set(KINDS["xinet"].reads) == rules - {"final_share"}


def test_the_names_of_networks_are_those_of_their_layout():
    assert NETWORKS == layout.NETWORKS
