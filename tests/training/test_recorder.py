"""What a run says of itself."""

import json
from unittest.mock import create_autospec

import jax
import numpy as np
import pytest
from helpers import tiny_config

from xinet_jax import agent as agents
from xinet_jax.agent.state import AgentState, Metrics
from xinet_jax.networks import layout
from xinet_jax.pruning.theta import Figures
from xinet_jax.telemetry.json_lines import JsonLines
from xinet_jax.telemetry.progress import ProgressDisplay
from xinet_jax.training import members
from xinet_jax.training.description import Description
from xinet_jax.training.pace import Pace
from xinet_jax.training.phases import PHASES, Position
from xinet_jax.training.recorder import Recorder
from xinet_jax.training.tally import Tally


class Recording:
    """A recorder of two members, what it wrote and what it printed."""

    def __init__(self, folder):
        self.config = tiny_config(seeds=2)
        self.agent = agents.make_agent(self.config, 17, 6)
        self.file, self.display = folder / "metrics.jsonl", create_autospec(ProgressDisplay, instance=True)
        metrics = JsonLines(self.file)
        self.recorder = Recorder(self.config, members.identities(self.config), metrics, self.display)

    @property
    def rows(self):
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    @property
    def notes(self):
        return [call.args[0] for call in self.display.note.call_args_list]

    @property
    def status(self):
        return self.display.show.call_args.args[0]

    def segment(self, position, rate=10.0, dead=0, diverged=(False, False), **sums):
        """Records a segment after which `dead` units of OFENet's first block are pruned in the second member."""
        alive = [
            {name: value for name, value in layout.complete(self.agent.dense, {}).items() if name == "ofenet"}
            for _ in range(2)
        ]
        alive[1]["ofenet"]["state"][0][:dead] = 0.0
        stacked = jax.tree.map(lambda *pair: np.stack(pair), *alive)
        state = AgentState(*[None] * 5, stacked, *[None] * 2, np.array(diverged))
        self.recorder.segment(position, tally(**sums), self.agent, state, rate)


def tally(updates=0, theta_held=0.0, episodes=0, episode_return=0.0, bad_transitions=0):
    """Returns the sums of a segment, the same for both members."""
    zeros = np.zeros(2, np.float32)
    metrics = Metrics(*[zeros + 2.0] * 6)
    counts = [np.full(2, count, np.int32) for count in (updates, episodes, 10 * episodes, bad_transitions)]
    theta = Figures(price=zeros, held=zeros + theta_held)
    return Tally(metrics, counts[0], theta, counts[0], counts[1], zeros + episode_return, counts[2], counts[3])


@pytest.fixture
def recording(tmp_path):
    return Recording(tmp_path)


def test_a_segment_is_a_line_per_member(recording):
    recording.segment(Position("collect", 20), episodes=2, episode_return=6.0)
    recording.segment(Position("pretrain", 5), updates=4)
    recording.segment(Position("train", 30), updates=4, dead=2)
    rows = recording.rows
    assert [(row["kind"], row["seed"], row["environment_steps"]) for row in rows] == [
        (kind, seed, steps) for kind, steps in (("collect", 20), ("pretrain", 20), ("train", 30)) for seed in (0, 1)
    ]
    assert (rows[0]["episode_return"], rows[0]["episode_length"], rows[2]["episode_return"]) == (3.0, 10.0, None)
    assert "auxiliary_loss" not in rows[0]
    assert rows[2]["auxiliary_loss"] == 0.5
    assert "critic_loss" not in rows[2]
    assert rows[4]["critic_loss"] == 0.5
    assert rows[4]["parameters_left"] == 1.0 > rows[5]["parameters_left"]
    assert rows[5]["units"]["ofenet/state_1"] == 3
    assert rows[4]["iterations_per_second"] == 10.0
    assert rows[4]["nu"] == 400.0
    recording.recorder.show(Position("train", 30), {phase: Pace() for phase in PHASES})
    assert recording.status.parameters_left == (rows[4]["parameters_left"] + rows[5]["parameters_left"]) / 2


@pytest.mark.parametrize(
    ("sums", "words"),
    [
        ({"bad_transitions": 3}, "seed 0: 3 transitions before step 30 were not finite"),
        ({"updates": 4, "theta_held": 1.0}, "seed 0: theta had gradients before step 30 that were not finite"),
        ({"diverged": (True, False)}, "seed 0 diverged before step 30: it stays as it was before"),
    ],
)
def test_troubles_are_told_of_once(recording, sums, words):
    for step in (30, 40, 50):
        recording.segment(Position("train", step), **sums)
    about_the_first = [line for line in recording.notes if line.startswith("seed 0")]
    assert len(about_the_first) == 1
    assert about_the_first[0].startswith(words)
    recording.segment(Position("train", 60), diverged=(True, True))
    assert recording.notes[-1].startswith("seed 1 diverged before step 60")


def test_the_return_shown_is_that_of_episodes_until_the_first_evaluation(recording):
    recorder = recording.recorder
    assert (recorder.newest_return, recorder.mean_return) == (None, None)
    recording.segment(Position("collect", 10), episodes=2, episode_return=6.0)
    assert (recorder.newest_return, recorder.mean_return) == (3.0, None)
    recorder.evaluation(30, np.array([[1.0, 2.0], [3.0, float("nan")]]), None)
    assert np.isnan(recorder.mean_return)
    assert recording.rows[-1]["returns"] == [3.0, None]
    assert recording.notes[-1] == "step 30 of 60: return 2, nan; parameters left 100%"
    recorder.evaluation(40, np.array([[1.0], [3.0]]), 12.4)
    assert recording.notes[-1] == "step 40 of 60: return 1, 3; parameters left 100%; 12 updates/s"
    recording.segment(Position("train", 50), episodes=2, episode_return=6.0)
    assert (recorder.newest_return, recorder.mean_return) == (2.0, 2.0)


def test_a_resumed_run_goes_on_where_it_was_left(recording):
    description = create_autospec(Description, instance=True, seconds=1.5, newest_return=7.0)
    recording.recorder.resume(description, np.array([False, True]))
    assert recording.recorder.newest_return == 7.0
    assert recording.recorder.seconds > 1.5
    recording.segment(Position("train", 30), diverged=(False, True))
    assert recording.notes == [], "what had diverged by then was told of then"
    recording.recorder.show(Position("train", 30), {phase: Pace() for phase in PHASES})
    assert recording.status.diverged == 1


def test_the_status_says_what_is_being_done(recording):
    paces = {phase: Pace() for phase in PHASES}
    recording.recorder.show(Position("collect", 0), paces)
    assert (recording.status.phase, recording.status.done, recording.status.total) == ("compiling", 0, 60)
    for pace in paces.values():
        pace.record(1, 9.0)
        pace.record(10, 2.0)
    recording.recorder.show(Position("pretrain", 3), paces)
    assert (recording.status.phase, recording.status.done, recording.status.total) == ("OFENet alone", 3, 5)
    assert (recording.status.updates_per_second, recording.status.seconds_left) == (5.0, 8.0)
    recording.recorder.show(Position("collect", 20), paces)
    assert recording.status.updates_per_second is None
    recording.recorder.show(Position("train", 50), paces)
    assert recording.status.seconds_left == 2.0


def test_compactions_and_checkpoints_are_lines_of_their_own(recording):
    recording.recorder.compaction(30, 0.25, 4.2, 100.0, 150.0)
    recording.recorder.compaction(40, 0.25, 4.2, 100.0, None)
    recording.recorder.checkpoint(50, 1000)
    assert [row["kind"] for row in recording.rows] == ["compaction", "compaction", "checkpoint"]
    assert recording.rows[0]["flops_of_arrays_left"] == 0.25
    assert recording.rows[1]["iterations_per_second"] is None
    assert recording.rows[2] == {"kind": "checkpoint", "environment_steps": 50, "bytes": 1000}
    assert recording.notes == [
        "compacted at step 30: the arrays need 25% of the dense FLOPs; it took 4 s; 100 → 150 updates/s",
        "compacted at step 40: the arrays need 25% of the dense FLOPs; it took 4 s; 100 updates/s before",
    ]
    assert recording.recorder.metrics_bytes == recording.file.stat().st_size
