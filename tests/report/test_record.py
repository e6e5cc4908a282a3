import fcntl
import json
import math

import numpy as np
import pytest
from report.runs import DENSE, write_run

from xinet_jax.errors import UserError
from xinet_jax.report.groups import groups_of, whole_runs
from xinet_jax.report.record import read_run


def test_a_run_is_read_member_by_member(tmp_path):
    run = read_run(write_run(tmp_path / "run"))
    assert (run.state, run.steps, run.seconds, run.prunes) == ("finished", 60, 7.0, True)
    assert [member.seed for member in run.members] == [0, 1]
    second = run.members[1]
    assert second.curves["return"].steps.tolist() == [40, 60]
    assert second.curves["return"].values.tolist() == [50.0, 70.0]
    assert second.curves["critic_loss"].steps.tolist() == [40, 60], "random steps have no losses"
    assert np.isnan(second.curves["actor_loss"].values).all(), "null is not finite"
    assert second.returns.tolist() == [50.0, 70.0]
    assert (second.final_return, second.parameters_left, second.trouble) == (60.0, 0.25, "")
    (compaction,) = run.compactions
    assert (compaction.steps, compaction.rate_before, compaction.rate_after) == (40, 100.0, 200.0)


def test_units_and_flops_are_followed_over_time(tmp_path):
    (member, _) = read_run(write_run(tmp_path / "run")).members
    assert member.units["actor/hidden_1"].steps.tolist() == [20, 40, 60]
    assert member.units["actor/hidden_1"].values.tolist() == [8.0, 4.0, 2.0]
    assert member.flops_left.values.tolist() == [1.0, 0.5, 0.25]
    assert list(member.widths()) == list(DENSE)
    assert member.widths()["ofenet/state_1"] == (4, 1)
    assert member.policy_parameters is None


def test_saved_policies_say_what_they_need(tmp_path):
    folder = write_run(tmp_path / "run")
    policy = folder / "policy" / "seed_0"
    policy.mkdir(parents=True)
    counts = {"units_before": 9, "units": 3, "parameters_before": 90, "parameters": 30}
    counts |= {"flops_before": 500, "flops": 50}
    layers = [dict(zip(("network", "name"), name.split("/"), strict=True)) | counts for name in DENSE]
    (policy / "policy.json").write_text(json.dumps({"layers": layers}, allow_nan=False))
    first, second = read_run(folder).members
    assert first.policy_parameters == (270, 90)  # state branch, the actor's layers
    assert first.widths()["actor/head"] == (9, 3)
    np.testing.assert_allclose(first.flops_left.values * 9 * 500, [1000, 500, 250])
    assert second.policy_parameters is None


def test_updates_are_counted_by_rounds(tmp_path):
    run = read_run(write_run(tmp_path / "run"))  # two environments, two updates a step
    (group,) = groups_of([run])
    assert group.curves("updates_per_second").values.tolist() == [[800.0, 1200.0]] * 2


def test_members_with_the_same_settings_make_a_group(tmp_path):
    sweep, other = (read_run(write_run(tmp_path / name, nu=nu)) for name, nu in (("a", (10, 20)), ("b", (10,))))
    groups = groups_of([sweep])
    assert [group.label for group in groups] == ["ν = 10", "ν = 20"]
    assert [[member.name for member in group.members] for group in groups] == [
        ["nu_10_seed_0", "nu_10_seed_1"],
        ["nu_20_seed_0", "nu_20_seed_1"],
    ]
    assert [group.color for group in groups] == [0, 1]
    both = groups_of([sweep, other])
    assert [(group.color, group.dash) for group in both] == [(0, "solid"), (0, "dash"), (1, "solid")]
    assert both[1].label == f"{tmp_path / 'a'}, ν = 20"
    assert [len(group.members) for group in whole_runs(both)] == [4, 2]


def test_the_state_of_a_run(tmp_path):
    folder = write_run(tmp_path / "run", finished=False)
    assert read_run(folder).state == "interrupted"
    assert read_run(folder, running=True).state == "running"
    assert read_run(folder).members[0].final_return == 60.0, "of the newest evaluation"
    with (folder / "lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert read_run(folder).state == "running"


def test_troubles_are_told(tmp_path):
    folder = write_run(tmp_path / "run")
    text = (folder / "metrics.jsonl").read_text().splitlines()
    line = json.loads(text[-3]) | {"kind": "train", "member": "seed_0", "seed": 0, "environment_steps": 60}
    line |= {"bad_transitions": 7, "diverged": True, "units": DENSE}
    (folder / "metrics.jsonl").write_text("\n".join([*text, json.dumps(line, allow_nan=False), '{"kind": "tra']))
    assert [member.trouble for member in read_run(folder).members] == ["diverged by step 60; 7 bad transitions", ""]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"kind": "train"}', "damaged metrics .*KeyError: 'environment_steps'"),
        ("[1]", "damaged metrics .*TypeError"),
        ('{"kind": "train", "member": "a", "seed": 0, "environment_steps": 1, "units": {"a": "b"}}', "damaged metrics"),
        ('{"kind": "train", "member": "a", "seed": 0, "environment_steps": 1, "units": 3}', "damaged metrics"),
        ('{"kind": "evaluation", "environment_steps": 1, "seconds": Infinity}', "inf is not finite"),
        ("", "has no metrics yet"),
        ('{"kind": "checkpoint", "environment_steps": 1}', "has no metrics yet"),
    ],
)
def test_damaged_metrics_are_told_in_one_line(line, message, tmp_path):
    folder = write_run(tmp_path / "run", nu=(1.0,))
    (folder / "metrics.jsonl").write_text(line)
    with pytest.raises(UserError, match=message):
        read_run(folder)


def test_a_damaged_policy_is_told_in_one_line(tmp_path):
    folder = write_run(tmp_path / "run")
    file = folder / "policy" / "seed_0" / "policy.json"
    file.parent.mkdir(parents=True)
    for text in ('{"layers": 3}', "{", '{"layers": [{"network": "actor"}]}'):
        file.write_text(text)
        with pytest.raises(UserError, match="damaged policy"):
            read_run(folder)
    file.write_text('{"layers": []}')
    assert math.isclose(read_run(folder).members[0].flops_left.values[-1], 0.25)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"is no run folder: it has no config.yaml"):
        read_run(tmp_path)
