"""Evaluation: a return depends on the episode's seed alone, however many there are, and an interrupt loses none."""

import io
import json
import re

import gymnasium
import jax
import numpy as np
import pytest
from helpers import tiny_config
from rich.console import Console

from xinet_jax import agent as agents
from xinet_jax.cli import main
from xinet_jax.errors import UserError
from xinet_jax.policy import evaluation, files, policy
from xinet_jax.policy.evaluation import check_options_in_gymnasium, evaluate, evaluate_until_interrupted
from xinet_jax.tasks.engines import host_call
from xinet_jax.tasks.registry import load_task
from xinet_jax.telemetry.progress import EpisodesBar
from xinet_jax.training.members import identities
from xinet_jax.training.setup import prepare


@pytest.fixture(scope="module")
def hopper():
    """A policy that was not trained: its episodes end by a fall, each after another number of steps."""
    config, task = tiny_config(task="Hopper-v5"), load_task("Hopper-v5", "native", reset_noise_scale=0.05)
    agent = agents.make_agent(config, task.observation_size, task.action_size)
    state = agents.init(agent, agents.make_hyper(config, task.action_size), jax.random.PRNGKey(0))
    about = {"name": "xinet", "seed": 0, "nu": 1.0, "settings": {}, "environment_steps": 1}
    return policy.from_agent(agent, state, task=task, **about)


@pytest.fixture
def environments(monkeypatch):
    """The environments that Gymnasium has made, and that are not closed."""
    opened = []
    make = gymnasium.make

    def counted_make(*arguments, **options):
        environment = make(*arguments, **options)
        opened.append(environment)
        close = environment.close
        environment.close = lambda: (opened.remove(environment), close())
        return environment

    monkeypatch.setattr(gymnasium, "make", counted_make)
    return opened


@pytest.mark.parametrize("side_by_side", [1, 3, 32])
def test_returns_do_not_depend_on_how_many_run_side_by_side(hopper, environments, monkeypatch, side_by_side):
    expected = evaluate(hopper, episodes=7, seed=4)
    assert len(set(expected)) == 7, "the episodes must differ for their order to mean anything"
    monkeypatch.setattr(evaluation, "_SIDE_BY_SIDE", side_by_side)
    np.testing.assert_array_equal(evaluate(hopper, episodes=7, seed=4), expected)
    np.testing.assert_array_equal(evaluate(hopper, episodes=2, seed=8), expected[4:6])
    assert environments == []


@pytest.mark.parametrize("side_by_side", [2, 7])
def test_nor_do_those_of_tasks_that_gymnasium_does_not_have(hopper, monkeypatch, side_by_side):
    """MuJoCo's C engine gives the same in any batch. What is compiled is compiled once."""
    monkeypatch.setattr(evaluation, "in_gymnasium", lambda name: False)
    monkeypatch.setattr(evaluation, "_SIDE_BY_SIDE", 3)
    expected = evaluate(hopper, episodes=7, seed=4)
    assert len(set(expected)) == 7
    monkeypatch.setattr(evaluation, "_SIDE_BY_SIDE", side_by_side)
    traced, step = [], evaluation.tasks.step
    monkeypatch.setattr(evaluation.tasks, "step", lambda *arguments: (traced.append(1), step(*arguments))[1])
    np.testing.assert_allclose(evaluate(hopper, episodes=7, seed=4), expected, rtol=1e-4)
    assert len(traced) == 1
    np.testing.assert_allclose(evaluate(hopper, episodes=2, seed=8), expected[4:6], rtol=1e-4)


@pytest.mark.parametrize("gymnasium_has_it", [True, False])
def test_an_interrupt_leaves_what_is_finished(hopper, environments, monkeypatch, gymnasium_has_it):
    monkeypatch.setattr(evaluation, "in_gymnasium", lambda name: gymnasium_has_it)
    monkeypatch.setattr(evaluation, "_SIDE_BY_SIDE", 3)
    whole = evaluate_until_interrupted(hopper, episodes=5, seed=4)
    assert not whole.interrupted
    assert len(whole.returns) == 5
    calls, each, most = [], policy.Policy.each, []

    def interrupted_each(self, observations):
        calls.append(1)
        most.append(len(environments))
        if len(calls) == 90:
            raise KeyboardInterrupt
        return each(self, observations)

    monkeypatch.setattr(policy.Policy, "each", interrupted_each)
    some = evaluate_until_interrupted(hopper, episodes=10**8, seed=4)
    assert some.interrupted
    assert 2 <= len(some.returns) < 30
    np.testing.assert_array_equal(some.returns[:2], whole.returns[:2])
    assert environments == [], "all are closed"
    assert max(most) == (3 if gymnasium_has_it else 0)
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        evaluate(hopper, episodes=10**8, seed=4)


def test_the_command_tells_what_is_finished_and_exits_with_130(hopper, tmp_path, monkeypatch, capsys):
    files.save_policy(hopper, tmp_path / "policy" / "seed_0")
    files.save_policy(hopper, tmp_path / "policy" / "seed_1")
    calls, each = [], policy.Policy.each

    def interrupted_each(self, observations):
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return each(self, observations)

    monkeypatch.setattr(policy.Policy, "each", interrupted_each)
    stop = 90
    assert main(["evaluate", str(tmp_path), "--episodes", "1000", "--json"]) == 130
    said = capsys.readouterr()
    report = json.loads(said.out)
    (row,) = report["policies"]
    assert report["episodes"] == 1000
    assert 30 < row["episodes"] == len(row["returns"]) < 1000
    assert said.err == f"xinet: interrupted after {row['episodes']} of 2,000 episodes\n"
    calls.clear()
    assert main(["evaluate", str(tmp_path), "--episodes", "1000"]) == 130
    said = capsys.readouterr()
    assert "Hopper-v5" in said.out
    assert said.err == f"xinet: interrupted after {row['episodes']} of 2,000 episodes\n"
    calls.clear()
    stop = 1
    assert main(["evaluate", str(tmp_path), "--episodes", "1000"]) == 130
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "xinet: interrupted after 0 of 2,000 episodes\n"


def test_the_bar_has_a_running_mean():
    screen = Console(file=io.StringIO(), force_terminal=True, width=80)
    with EpisodesBar(2_000, True, screen) as bar:
        bar.show(0.5)
        for episode_return in (10.0, 20.0, 60.0):
            bar.add(episode_return)
        bar.show(0.0)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.file.getvalue())
    assert "3/2k episodes · mean return 30" in shown
    for silent in (
        EpisodesBar(2, False, Console(file=(off := io.StringIO()), force_terminal=True)),
        EpisodesBar(2, True, Console(file=(log := io.StringIO()))),
    ):
        with silent as bar:
            bar.add(1.0)
            bar.show(0.0)
    assert off.getvalue() == log.getvalue() == ""


def test_seeds_that_no_episode_can_have_are_refused(hopper):
    for seed, episodes in ((-1, 1), (2**31, 1), (2**31 - 5, 6), (0, 10**400)):
        with pytest.raises(UserError, match=r"seed \+ episodes at most 2\*\*31"):
            evaluate(hopper, episodes=episodes, seed=seed)


def test_options_that_gymnasium_will_not_have_are_told_before_training(environments, monkeypatch):
    check_options_in_gymnasium("Hopper-v5", {"healthy_z_range": (0.5, np.inf)})
    check_options_in_gymnasium("Hopper-v5", {})
    for name, options, message in (
        ("Hopper-v5", {"reset_noise_scale": -1.0}, "with task options reset_noise_scale=-1.0: ValueError"),
        ("Hopper-v5", {"healthy_z_range": 1.0}, "with task options healthy_z_range=1.0: TypeError"),
        (
            "Ant-v5",
            {"main_body": 99, "healthy_reward": 2},
            "with task options main_body=99 healthy_reward=2: ",
        ),
        ("Hopper-v5", {"no_option": False}, "with task options no_option=false: TypeError"),
    ):
        with pytest.raises(UserError, match=f"Gymnasium cannot run {name} {message}") as caught:
            check_options_in_gymnasium(name, options)
        assert "\n" not in str(caught.value)

    def refuse(*_, **options):
        raise RuntimeError(f"no such\nenvironment {options}")

    monkeypatch.setattr(gymnasium, "make", refuse)
    config = tiny_config(task="Hopper-v5", task_options=("healthy_reward=2",))
    with pytest.raises(
        UserError, match="Gymnasium cannot run Hopper-v5 with task options healthy_reward=2: RuntimeErr"
    ):
        prepare(config, identities(config))


@pytest.mark.parametrize("at", ["reset", "step"])
def test_an_interrupt_while_the_program_is_in_physics_leaves_what_is_finished(hopper, monkeypatch, at):
    """XLA makes an error of its own of what is raised on the host: it must come out as the interrupt that it was."""
    monkeypatch.setattr(evaluation, "in_gymnasium", lambda name: False)
    monkeypatch.setattr(evaluation, "_SIDE_BY_SIDE", 2)
    calls, most = [], {"reset": 0, "step": 200}[at]

    def interrupted(x):
        calls.append(1)
        if len(calls) > most:
            raise KeyboardInterrupt
        return x

    call = host_call.host_call(interrupted, f"interrupted_{at}", 11)
    function = getattr(evaluation.tasks, at)

    def through_the_host(*arguments):
        result = function(*arguments)
        state = result if at == "reset" else result[0]
        state = state._replace(observation=call(state.observation))
        return state if at == "reset" else (state, result[1])

    monkeypatch.setattr(evaluation.tasks, at, through_the_host)
    result = evaluate_until_interrupted(hopper, episodes=50)
    assert result.interrupted
    assert (len(result.returns) > 0) == (at == "step")
