"""Every schedule of pruning that is accepted prunes; what would do nothing is refused."""

import dataclasses
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xinet_jax import agent as agents
from xinet_jax.agent.state import Agent
from xinet_jax.config import NETWORKS, PruningConfig, make_config
from xinet_jax.errors import UserError
from xinet_jax.pruning.schedules import PRUNERS

STEPS = st.integers(0, 45)
SCHEDULES = st.fixed_dictionaries(
    {
        "steps": st.integers(1, 40),
        "random_steps": STEPS,
        "prune_start": STEPS,
        "prune_ramp": STEPS,
        "prune_every": st.integers(1, 30),
        "theta_every": st.integers(1, 30),
        "prune_stop": st.none() | STEPS,
        "gated": st.sets(st.sampled_from(NETWORKS), min_size=1).map(lambda names: tuple(sorted(names))),
        "keep_share": st.sampled_from([0.0, 0.5]),
        "starts": st.fixed_dictionaries({"actor": st.none() | STEPS, "critic": st.none() | STEPS}),
    }
)
OF_SCHEDULE = ("prune_start", "prune_start_actor", "prune_start_critic", "prune_stop", "theta_every", "prune_every")


def events(config, network):
    """Returns the steps at which a network's theta moves at a price, and those at which its units may be pruned."""
    rules = config.pruning
    agent = Agent(None, None, config.gated, config.pruner, rules)
    moves, prunes = [], []
    for update, step in enumerate(range(config.random_steps + 1, config.steps + 1)):
        theta_due, prune_due = agents.schedule(agent, step, update)
        priced = step > rules.start(network) if rules.prune_ramp else step >= rules.start(network)
        moves += [step] if theta_due and priced else []
        prunes += [step] if prune_due or step == rules.prune_stop else []
    return moves, prunes


def configured(schedule, agent):
    """Returns the configuration, or the refusal."""
    overrides = dict(schedule)
    starts = overrides.pop("starts")
    if agent == "xinet":
        overrides |= {f"prune_start_{name}": starts[name] for name in starts if name in overrides["gated"]}
        if all(starts.get(name) is not None for name in overrides["gated"]):
            overrides.pop("prune_start")
    else:
        for name in ("theta_every", "prune_stop", "keep_share"):
            overrides.pop(name)
    try:
        return make_config(agent=agent, batch_size=1, **overrides)
    except UserError as error:
        return error


@settings(deadline=None, max_examples=500)
@given(SCHEDULES)
@example(
    {
        "steps": 40, "random_steps": 20, "prune_start": 0, "prune_ramp": 0, "prune_every": 1, "theta_every": 1,
        "prune_stop": 20, "gated": ("ofenet",), "keep_share": 0.5, "starts": {"actor": None, "critic": None},
    }
)  # fmt: skip
def test_theta_moves_at_a_price_and_units_are_pruned_after_it_or_the_schedule_is_refused(schedule):
    config = configured(schedule, "xinet")
    if isinstance(config, UserError):
        return
    for network in config.gated:
        moves, prunes = events(config, network)
        assert moves, "theta never moves"
        assert any(step >= moves[0] for step in prunes), "theta moves, and nothing is pruned"


@settings(deadline=None, max_examples=300)
@given(SCHEDULES, st.sampled_from(sorted(PRUNERS)))
def test_baselines_come_to_the_end_of_their_schedule_or_are_refused(schedule, agent):
    config = configured(schedule, agent)
    if isinstance(config, UserError):
        return
    rules = config.pruning
    _, prunes = events(config, config.gated[0])
    assert any(step >= rules.prune_start + rules.prune_ramp for step in prunes)


@settings(deadline=None, max_examples=300)
@given(SCHEDULES)
def test_no_schedule_that_prunes_is_refused(schedule):
    """The refusals about pruning are true: with the same settings, something indeed never happens."""
    refusal = configured(schedule, "xinet")
    if not isinstance(refusal, UserError) or str(refusal).split()[0] not in OF_SCHEDULE:
        return
    starts = {f"prune_start_{name}": start for name, start in schedule["starts"].items() if name in schedule["gated"]}
    names = {field.name for field in dataclasses.fields(PruningConfig)}
    rules = PruningConfig(**{name: value for name, value in schedule.items() if name in names}, **starts)
    lengths = {name: schedule[name] for name in ("steps", "random_steps")}
    config = SimpleNamespace(pruning=rules, pruner="theta", gated=rules.gated, **lengths)
    for network in rules.gated:
        moves, prunes = events(config, network)
        if not moves or not any(step >= moves[0] for step in prunes):
            return
    # A start at the last step or at `prune_stop` leaves a single step of theta: refused as well.
    last = config.steps if rules.prune_stop is None else min(config.steps, rules.prune_stop)
    assert max(map(rules.start, rules.gated)) >= last


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"random_steps": 20_000}, "prune_stop must be above random_steps (20000), or nothing is pruned, not 20000"),
        ({"theta_every": 10_000, "prune_stop": 14_000}, "theta_every must be small enough for theta to move"),
        ({"prune_every": 39_000, "prune_stop": None}, "prune_every must be small enough for units to be pruned"),
    ],
)
def test_what_would_prune_nothing_is_refused(overrides, message):
    with pytest.raises(UserError) as caught:
        make_config(**overrides)
    assert message in str(caught.value)
