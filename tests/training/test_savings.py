"""When a compaction pays."""

import pytest

from xinet_jax.training.savings import Ledger


def make(compile_seconds=10.0):
    return Ledger(compile_seconds=compile_seconds)


def test_what_is_saved_is_the_share_of_dead_flops_in_the_time_of_updates():
    saving = make().saving_per_step(flops_left=0.25, seconds_per_step=0.01, other_seconds=0.002)
    assert saving == pytest.approx(0.75 * 0.008)
    assert make().saving_per_step(flops_left=1.0, seconds_per_step=0.01, other_seconds=0.002) == 0.0
    assert make().saving_per_step(flops_left=0.5, seconds_per_step=0.001, other_seconds=0.002) == 0.0


def test_it_waits_until_as_much_was_lost_as_compiling_costs():
    ledger = make(compile_seconds=10.0).accrue(steps=1000, saving_per_step=0.009)
    assert not ledger.is_due(0.009, steps_left=10**6)
    ledger = ledger.accrue(steps=1000, saving_per_step=0.009)
    assert ledger.is_due(0.009, steps_left=10**6)


def test_it_does_not_pay_shortly_before_the_end():
    ledger = make(compile_seconds=10.0).accrue(steps=10_000, saving_per_step=0.01)
    assert ledger.is_due(0.01, steps_left=1001)
    assert not ledger.is_due(0.01, steps_left=1000)


def test_nothing_is_due_before_the_cost_is_known():
    ledger = Ledger().accrue(steps=10**6, saving_per_step=1.0)
    assert not ledger.is_due(1.0, steps_left=10**6)


def test_it_learns_from_how_the_last_one_turned_out():
    ledger = make()
    predicted = ledger.saving_per_step(0.5, 0.01, 0.0)
    ledger = ledger.calibrate(predicted, before=0.01, after=0.0075)  # half of what was predicted
    assert ledger.saving_per_step(0.5, 0.01, 0.0) == pytest.approx(predicted / 2)
    ledger = ledger.calibrate(0.0025, before=0.01, after=0.02)  # slower than before: distrust, but look again
    assert 0 < ledger.realised <= 0.1
    ledger = ledger.calibrate(0.0, before=0.01, after=0.005)
    assert 0 < ledger.realised <= 0.1


def test_after_the_last_unit_fell_there_is_nothing_to_wait_for():
    ledger = make(compile_seconds=10.0)
    assert not ledger.is_due(0.01, steps_left=2000)
    assert ledger.is_due(0.01, steps_left=2000, last=True)
    assert not ledger.is_due(0.01, steps_left=500, last=True)


def test_what_it_has_learnt_is_written_down_and_read_again():
    ledger = make().accrue(100, 0.25).calibrate(0.004, before=0.01, after=0.008)
    assert Ledger.from_json(ledger.to_json()) == ledger
    assert Ledger.from_json(Ledger().to_json()) == Ledger()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"realised": None}, "realised must be a number"),
        ({"realised": "1"}, "realised must be a number"),
        ({"lost_seconds": -1.0}, "lost_seconds must be a number, 0 or more"),
        ({"compile_seconds": float("nan")}, "compile_seconds must be a number"),
        ({"compile_seconds": 10**400}, "compile_seconds must be a number"),
    ],
)
def test_what_is_no_ledger_is_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        Ledger.from_json(make().to_json() | change)
    with pytest.raises(ValueError, match="must be a mapping"):
        Ledger.from_json([])
