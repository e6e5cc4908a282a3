"""The host loop: the one place that knows time, files and signals. It calls the compiled phases chunk by chunk."""

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from xinet_jax import agent as agents
from xinet_jax.agent.replay import replay_filled, sample_more
from xinet_jax.agent.state import AgentState
from xinet_jax.compat.jax import in_float32
from xinet_jax.config import Config, check, check_resumed, load_config, save_config, to_flat, varied
from xinet_jax.errors import UserError
from xinet_jax.networks.complexity import LayerCount, count, dense_total, left
from xinet_jax.networks.modules import Shape
from xinet_jax.policy import evaluation, files, policy
from xinet_jax.policy.policy import Policy
from xinet_jax.pruning import compaction
from xinet_jax.tasks.engines.host_call import hearing_interrupts
from xinet_jax.tasks.registry import in_gymnasium
from xinet_jax.telemetry.json_lines import JsonLines
from xinet_jax.telemetry.progress import ProgressDisplay, Status, whole
from xinet_jax.training import from_widths as small
from xinet_jax.training import members, memory, processes
from xinet_jax.training.checkpoints import Checkpoints
from xinet_jax.training.devices import claim_cores, padded, place
from xinet_jax.training.members import Identity
from xinet_jax.training.phases import PHASES, Pace, Segment, remaining
from xinet_jax.training.plan import Plan, prepare
from xinet_jax.training.program import Member, Tally, agent_key, make_program
from xinet_jax.training.results import Result, read_members, save_trade_off
from xinet_jax.training.resume import Start, find_start, is_complete, snapshot
from xinet_jax.training.run_folder import (
    CONFIG_FILE,
    POLICY_FOLDER,
    STOP_FILE,
    claim_run_folder,
    lock,
    own_checkpoints,
    own_metrics_file,
    remove_other_metrics,
    writing_to,
)
from xinet_jax.training.savings import Ledger
from xinet_jax.training.signals import Abandoned, StopOnSignal
from xinet_jax.types import Key


@in_float32
def train(config: Config, progress: bool = True) -> Result:
    """Trains, prunes, saves and evaluates the agents that a configuration describes.

    Writes `config.yaml`, `metrics.jsonl`, `policy/seed_N/` and, for several values of nu, the trade-off curve to the
    run folder. SIGINT and SIGTERM end it early, with the policies learnt so far saved.

    Args:
      config: the configuration (`xinet_jax.make_config`).
      progress: whether to show progress on standard error.

    Raises:
      UserError: for a configuration that is not allowed, or a run folder that exists.
    """
    check(config)
    everyone = members.identities(config)
    processes.join(config.distributed)
    claim_cores(config.devices, len(everyone))
    first, index = jax.process_index() == 0, jax.process_index()
    held, folder, start, plan = None, Path(config.resume or ""), None, None
    display = ProgressDisplay(progress and first)
    with processes.together("plan"), writing_to(folder):
        if config.resume is not None:
            check_resumed(config, load_config(folder / CONFIG_FILE))
            held = lock(folder) if first else None
            start = find_start(config, processes.own_share(everyone), folder, display.note)
            if start is None and first:
                remove_other_metrics(folder)
            if start and start.about["environment_steps"] == config.steps and is_complete(config, everyone, folder):
                raise UserError(f"the run is trained to {config.steps} steps already: choose more by steps")
        plan = start.plan if start else prepare(config, processes.own_share(everyone))
    with processes.together("claim"), writing_to(plan.config.run_folder):
        if first and config.resume is None:
            folder = claim_run_folder(plan.config)
            held = lock(folder)
        if first:
            (folder / STOP_FILE).unlink(missing_ok=True)
    folder = Path(processes.gather_text("folder", str(folder))[0])
    with processes.together("write"), writing_to(folder):
        if first:
            # Without what concerns this start of the run alone, so that the file can be run again.
            own = {"out": None, "overwrite": False, "resume": None, "devices": None, "distributed": False}
            save_config(dataclasses.replace(plan.config, **own), folder / CONFIG_FILE)
        keep = start.about["metrics_bytes"] if start else 0
        metrics = JsonLines(folder / own_metrics_file(index), keep, display.note)
    kept = own_checkpoints(folder, index, jax.process_count())
    checkpoints = Checkpoints(kept, config.checkpoint_keep, display.note)
    try:
        with display, StopOnSignal(folder / STOP_FILE) as stop:
            run = _Run(plan, folder, metrics, checkpoints, display, stop)
            run.train(start)
            checkpoints.close()
            metrics.close()
            return _gather(run, everyone)
    except Abandoned:
        checkpoints.abandon()
        raise
    finally:
        metrics.close()
        if held:
            held.close()


def _gather(run: "_Run", everyone: Sequence[Identity]) -> Result:
    """Waits for the other processes, and returns what became of the run in all of them."""
    first = jax.process_index() == 0
    processes.wait_for_all()
    interrupted = run.stop.requested.name if run.stop.requested else None
    processes.wait_for_all()  # before the file goes that the others learn it from
    if first:
        (run.folder / STOP_FILE).unlink(missing_ok=True)
    found = read_members(run.folder, everyone) if run.mistake is None else ()
    processes.leave()
    if run.mistake:
        raise run.mistake
    result = Result(run.folder, run.config, found, run.steps, interrupted)
    if first:
        try:
            save_trade_off(result)
        except OSError as error:
            run.display.note(f"cannot write the trade-off curve: {error.strerror}")
        if len(found) < len(everyone):
            run.display.note(f"a process is gone, and with it {len(everyone) - len(found)} of {len(everyone)} members")
    return result


class _Compaction(NamedTuple):
    """A compaction whose gain is not known yet.

    Attributes:
      steps: environment steps when it was done.
      flops_left: FLOPs of the arrays as a share of the dense networks'.
      saving: what was predicted [seconds per step].
      seconds_per_step: before it.
      seconds: how long it took, without compiling.
    """

    steps: int
    flops_left: float
    saving: float
    seconds_per_step: float
    seconds: float


class _Run:
    """One run's host side. What is learnt is in `state`, on the device, and is handed from call to call."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        metrics: JsonLines,
        checkpoints: Checkpoints,
        display: ProgressDisplay,
        stop: StopOnSignal,
    ) -> None:
        self.checkpoints = checkpoints
        self.place: tuple[str, int] = ("collect", 0)  # phase, and position in it
        self.saved_at: tuple[str, int] | None = None
        self.held_up, self.checkpoint_bytes = 0.0, 0  # seconds that checkpoints took, and the newest one's size
        self.config, self.folder, self.metrics, self.display, self.stop = plan.config, folder, metrics, display, stop
        self.plan, self.mesh, self.identities = plan, plan.mesh, plan.identities
        self.agent, self.program = plan.agent, plan.program
        self.hyper, self.seeds = place(plan.hyper, plan.mesh), place(plan.seeds, plan.mesh)
        self.steps = 0
        self.started = self.began = time.monotonic()  # the first moves back when a run is resumed
        self.paces = {phase: Pace() for phase in PHASES}
        self.ledger = Ledger()
        self.compaction: _Compaction | None = None  # the newest, until it is known how it turned out
        self.evaluation_seconds: list[float] = []  # of the present program: the first call compiles
        self.evaluation_compile_seconds = 0.0
        self.curves: list[list[tuple[int, float]]] = [[] for _ in plan.identities]
        self.mistake: UserError | None = None  # raised when the other processes know that this one has ended
        self.diverged: set[int] = set()
        self.met_bad_transitions: set[int] = set()
        self.met_held_theta: set[int] = set()
        self.newest_return: float | None = None
        self.parameters_left = 1.0

    def train(self, start: Start | None) -> None:
        """Runs every phase, or what is left of them, and saves and evaluates every policy."""
        config, names = self.config, varied(self.config)
        several = " × ".join(f"{len(to_flat(config)[name])} values of {name}" for name in names)
        shared = f", shared by {jax.process_count()} processes" if jax.process_count() > 1 else ""
        self.display.note(
            f"{config.agent} on {config.task}, {config.seeds} seed{'s' * (config.seeds > 1)}"
            + (f" for each of {several}" if several else "")
            + f"{shared}, {config.engine} physics on {self._devices()}; writing to {self.folder}"
        )
        self.display.note(self.plan.needed)
        prune_stop = config.pruning.prune_stop
        settles = config.pruner == "theta" and prune_stop is not None
        if settles and prune_stop > config.steps:
            self.display.note(f"prune_stop {prune_stop:,} is after the last step: gates stay where theta leaves them")
        if config.resume is not None:  # what was saved is saved again at the end
            for identity in self.identities:
                shutil.rmtree(self.folder / POLICY_FOLDER / identity.folder, ignore_errors=True)
        state = self._go_on_from(start) if start else self._begin()
        for segment in remaining(config, *self.place):
            if len(self.diverged) == len(self.identities) and jax.process_count() == 1:
                self.display.note(f"nothing is left to train at step {self.steps:,}: every member has diverged")
                self._save_checkpoint(state)
                break
            state = self._run_segment(state, segment)
            if self.place[1] < segment.last:
                break  # stopped by a signal; what is due at the segment's end is due when the run is resumed
            if segment.phase == "collect" and not self._of_members(replay_filled(state.replay)).all():
                raise UserError(f"{config.task} gave no transition that is finite in {self.place[1]:,} random steps")
            if segment.phase == "train":
                settled = settles and self.steps == prune_stop
                if settled:
                    state = self._settle_gates(state)
                compacted = self._compact_if_it_pays(state, segment, settled)
                if settled and compacted is state and self.steps < config.steps:
                    self._renew_program()  # without theta: what a run that is resumed from here compiles
                state = compacted
            if segment.evaluate:
                self._evaluate(state)
            if segment.phase == "train" and (self.steps % config.checkpoint_every == 0 or self.steps == config.steps):
                self._save_checkpoint(state)
            if self.stop.requested:
                break
        if self.stop.requested:
            self._save_checkpoint(state)
        self._finish(state)

    def _begin(self) -> Member:
        with self._compiling(first_call=True):
            state = self.program.init(self.hyper, self.seeds)
        return state._replace(agent=self._small_agents()) if self.plan.widths else state

    def _go_on_from(self, start: Start) -> Member:
        about = start.about
        self.place, self.steps = (about["phase"], about["position"]), about["environment_steps"]
        self.started -= about["seconds"]
        self.ledger.take(about["ledger"])
        self.newest_return = about["newest_return"]
        self.diverged = set(np.flatnonzero(start.state.agent.diverged))
        self.display.note(f"going on from step {self.steps:,}")
        rows = np.array(padded(range(len(self.identities)), self.mesh))
        return place(jax.tree.map(lambda leaf: leaf[rows], start.state), self.mesh)

    def _save_checkpoint(self, state: Member) -> None:
        if self.saved_at == self.place:
            return
        before, self.saved_at = time.monotonic(), self.place
        self.checkpoints.wait()  # so that there is one copy on the host, and not two
        host = snapshot(state, len(self.identities))
        self.checkpoint_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(host))
        written = {"kind": "checkpoint", "environment_steps": self.steps, "bytes": self.checkpoint_bytes}
        self.metrics.write(written)
        phase, position = self.place
        about = {
            "phase": phase,
            "position": position,
            "environment_steps": self.steps,
            "seconds": time.monotonic() - self.started,
            "members": [identity.folder for identity in self.identities],
            "widths": self.agent.networks.shape._asdict(),
            "settled": self.agent.pruner == "none" and self.config.pruner != "none",
            "capacity": state.replay.experience.reward.shape[2],
            "filled": host.replay.experience.reward.shape[2],
            "metrics_bytes": self.metrics.size,
            "ledger": self.ledger.as_json(),
            "newest_return": self.newest_return if np.isfinite(self.newest_return or 0.0) else None,
        }
        newest = [own[-1][1] for own in self.curves if own]
        self.checkpoints.save(self.steps, host, about, float(np.mean(newest)) if newest else None)
        self.held_up += time.monotonic() - before

    def _small_agents(self) -> AgentState:
        states = []
        for member, own in enumerate(self.plan.widths):
            hyper = members.select(self.plan.hyper, member)
            states.append(small.init(self.agent, hyper, own, agent_key(self.identities[member].seed)))
        return place(jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *padded(states, self.mesh)), self.mesh)

    def _renew_program(self) -> None:
        """Makes the program for the agent as it is now. It is compiled when it is called."""
        if self.compaction and self.paces["train"].rate:
            self._report_compaction(1.0 / self.paces["train"].rate)
        self.program = make_program(self.agent, self.plan.task, self.plan.replay, self.config.eval_episodes, self.mesh)
        self.paces["train"] = Pace()
        self.evaluation_seconds = []

    @contextlib.contextmanager
    def _compiling(self, first_call: bool) -> Iterator[None]:
        """Surrounds a call, which compiles if it is a program's first: signals wait for that, and it takes memory."""
        self.stop.compiling = first_call
        try:
            with hearing_interrupts():
                yield
        finally:
            self.stop.compiling = False
        if first_call:
            memory.give_back()

    def _devices(self) -> str:
        kind = self.mesh.devices.flat[0].platform
        return kind if self.mesh.size == 1 else f"{self.mesh.size} {kind} devices"

    def _settle_gates(self, state: Member) -> Member:
        """Rounds every gate for good. The program must be made anew: it has no pass for theta any more."""

        def settle(own: Member) -> tuple[AgentState, Key]:
            key, key_sample = jax.random.split(own.key)
            batch = sample_more(self.plan.replay, own.replay, key_sample)
            return agents.settle(self.agent, own.agent, batch), key

        with self._compiling(first_call=True), jax.default_matmul_precision("highest"):  # as in the program
            settled, key = jax.jit(jax.vmap(settle))(state)
        self.agent = self.agent._replace(pruner="none")
        return state._replace(agent=place(settled, self.mesh), key=place(key, self.mesh))

    def _compact_if_it_pays(self, state: Member, segment: Segment, settled: bool) -> Member:
        """Takes pruned units out of the arrays, and compiles for the new sizes, where that saves time.

        Where gates have just settled it costs nothing more: the program is compiled anew in any case.
        """
        config, rate, collect_rate = self.config, self.paces["train"].rate, self.paces["collect"].rate
        if config.pruning.compact != "auto" or not self.agent.gated or not rate:
            return state
        if self.compaction and self.compaction.steps < segment.first:
            self._report_compaction(1.0 / rate)
        # A first compilation may have come from JAX's cache; the next sizes will not.
        newest = self.paces["train"].compile_seconds + self.evaluation_compile_seconds
        self.ledger.compile_seconds = max(newest, self.ledger.compile_seconds or 0.0)
        shape = self.agent.networks.shape
        multiple = config.pruning.width_multiple or (128 if jax.default_backend() == "tpu" else 8)
        widths = compaction.rounded_widths(shape, jax.tree.map(self._of_members, state.agent.alive), multiple)
        flops_left = dense_total(widths, "flops") / dense_total(shape, "flops")
        saving = self.ledger.saving_per_step(flops_left, 1.0 / rate, 1.0 / collect_rate if collect_rate else 0.0)
        self.ledger.note(segment.last - segment.first, saving)
        steps_left = config.steps - self.steps
        due = self.ledger.is_due(saving, steps_left, last=self.agent.pruner == "none")
        if widths == shape or not (due or (settled and steps_left)):
            return state
        return self._compact(state, widths, saving)

    def _compact(self, state: Member, widths: Shape, saving: float) -> Member:
        if self.compaction:  # too new to have been measured
            self._report_compaction(None)
        before, rate = time.monotonic(), self.paces["train"].rate
        self.agent, compacted = agents.compact(self.agent, state.agent, widths)
        self._renew_program()
        self.ledger.lost_seconds = 0.0
        left_of_dense = dense_total(widths, "flops") / dense_total(self.agent.dense, "flops")
        self.compaction = _Compaction(self.steps, left_of_dense, saving, 1.0 / rate, time.monotonic() - before)
        return state._replace(agent=place(compacted, self.mesh))

    def _report_compaction(self, seconds_per_step: float | None) -> None:
        """Tells what the newest compaction cost and what it brought."""
        done, self.compaction = self.compaction, None
        cost = done.seconds + (self.paces["train"].compile_seconds or 0.0)
        after = 1.0 / seconds_per_step if seconds_per_step else None
        if seconds_per_step:
            self.ledger.settle(done.saving, done.seconds_per_step, seconds_per_step)
        stamp = {"environment_steps": done.steps, "seconds": round(time.monotonic() - self.started, 3)}
        rates = {"iterations_per_second_before": 1.0 / done.seconds_per_step, "iterations_per_second": after}
        figures = {"flops_of_arrays_left": done.flops_left, "compaction_seconds": round(cost, 3)}
        self.metrics.write({"kind": "compaction"} | stamp | figures | rates)
        self.display.note(
            f"compacted at step {done.steps:,}: the arrays need {done.flops_left:.0%} of the dense FLOPs; "
            f"it took {cost:.0f} s; {1.0 / done.seconds_per_step:.0f}"
            + (f" → {after:.0f} updates/s" if after else " updates/s before")
        )

    def _run_segment(self, state: Member, segment: Segment) -> Member:
        """Runs a segment chunk by chunk, so that progress shows and signals are heard."""
        pace, sums, position = self.paces[segment.phase], None, segment.first
        pace.start_segment()
        self._show(segment, position)
        while position < segment.last and not self.stop.requested:
            chunk = pace.chunk(segment.last - position)
            before = time.monotonic()
            with self._compiling(first_call=not pace.compiled):
                state, tally = self._run_chunk(state, segment.phase, position, chunk)
                tally = jax.tree.map(self._of_members, tally)  # waits for the device
            pace.took(chunk, time.monotonic() - before)
            sums = tally if sums is None else jax.tree.map(np.add, sums, tally)
            position += chunk
            self.place = (segment.phase, position)
            if segment.phase != "pretrain":
                self.steps = position
            self._show(segment, position)
        if sums is not None:
            self._record(state, segment.phase, sums)
        return state

    def _run_chunk(self, state: Member, phase: str, position: int, chunk: int) -> tuple[Member, Tally]:
        if phase == "collect":
            return self.program.collect(state, chunk)
        if phase == "pretrain":
            return self.program.pretrain(self.hyper, state, chunk)
        return self.program.train(self.hyper, state, position, chunk, position - self.config.random_steps)

    def _record(self, state: Member, phase: str, sums: Tally) -> None:
        """Writes one line of metrics per seed."""
        layers = [self._layers(state, member) for member in range(len(self.identities))]
        diverged = self._of_members(state.agent.diverged)
        self.parameters_left = float(np.mean([left(own) for own in layers]))
        for member, identity in enumerate(self.identities):
            tally = members.select(sums, member)
            updates, episodes = int(tally.updates), int(tally.episodes)
            record: dict[str, Any] = {"kind": phase} | self._stamp(identity)
            record["iterations_per_second"] = self.paces[phase].rate
            if updates:
                figures = {name: float(total) / updates for name, total in tally.metrics._asdict().items()}
                # OFENet alone has no critics or actor to speak of.
                record |= figures if phase == "train" else {"auxiliary_loss": figures["auxiliary_loss"]}
            record["episodes"] = episodes
            record["episode_return"] = float(tally.episode_return) / episodes if episodes else None
            record["episode_length"] = float(tally.episode_length) / episodes if episodes else None
            record["parameters"] = sum(layer.parameters for layer in layers[member])
            record["parameters_left"] = left(layers[member])
            record["ofenet_left"] = left(layer for layer in layers[member] if layer.network == "ofenet")
            record["flops"] = sum(layer.flops for layer in layers[member])
            record["units"] = {f"{layer.network}/{layer.name}": layer.units for layer in layers[member]}
            record["bad_transitions"] = int(tally.bad_transitions)
            record["diverged"] = bool(diverged[member])
            self.metrics.write(record)
            self._tell_of_trouble(member, record)
        if not self.curves[0] and sums.episodes.any():
            self.newest_return = float(sums.episode_return.sum() / sums.episodes.sum())

    def _tell_of_trouble(self, member: int, record: dict[str, Any]) -> None:
        """Tells of bad transitions, of gradients that are not finite and of divergence, once per member."""
        label = self.identities[member].label
        if record["bad_transitions"] and member not in self.met_bad_transitions:
            self.met_bad_transitions.add(member)
            self.display.note(
                f"{label}: {record['bad_transitions']:,} transitions before step {self.steps:,} were not finite; such "
                "are not stored, and end the episode"
            )
        if record.get("theta_held") and member not in self.met_held_theta:
            self.met_held_theta.add(member)
            self.display.note(
                f"{label}: theta had gradients before step {self.steps:,} that were not finite; such units stay as "
                "they were (theta_held in metrics)"
            )
        if record["diverged"] and member not in self.diverged:
            self.diverged.add(member)
            self.display.note(
                f"{label} diverged before step {self.steps:,}: it stays as it was before, and learns nothing more"
            )

    def _evaluate(self, state: Member) -> None:
        """Evaluates the deterministic policies, notes their returns and writes a line of metrics per seed."""
        before = time.monotonic()
        with self._compiling(first_call=not self.evaluation_seconds):
            returns = self._of_members(self.program.evaluate(state.agent, self.seeds))
        self.evaluation_seconds.append(time.monotonic() - before)
        if len(self.evaluation_seconds) == 2:
            self.evaluation_compile_seconds = max(self.evaluation_seconds[0] - self.evaluation_seconds[1], 0.0)
        self.newest_return = float(returns.mean())
        for member, identity in enumerate(self.identities):
            mean = float(returns[member].mean())
            self.curves[member].append((self.steps, mean))
            every = [float(value) for value in returns[member]]
            self.metrics.write({"kind": "evaluation"} | self._stamp(identity) | {"return": mean, "returns": every})
        shown = ", ".join(whole(own[-1][1]) for own in self.curves[:8]) + (", …" if len(self.curves) > 8 else "")
        rate = self.paces["train"].rate
        self.display.note(
            f"step {self.steps:,} of {self.config.steps:,}: return {shown}; "
            f"parameters left {self.parameters_left:.0%}" + (f"; {rate:.0f} updates/s" if rate else "")
        )

    def _finish(self, state: Member) -> None:
        """Saves every policy, and gives what was saved its last episodes, unless the run is interrupted."""
        if self.compaction:
            self._report_compaction(1.0 / self.paces["train"].rate if self.paces["train"].rate else None)
        folders = [self.folder / POLICY_FOLDER / identity.folder for identity in self.identities]
        on_host = state._replace(agent=jax.tree.map(np.asarray, state.agent))
        try:
            for member, folder in enumerate(folders):
                files.save_policy(self._policy(on_host, member), folder)
        except UserError as error:
            self.mistake = UserError(f"{error}; when that is mended: xinet train --resume {self.folder}")
            return
        if self.stop.requested:
            self.display.note(
                f"{self.stop.requested.name} at step {self.steps:,}: what was learnt so far is saved in {self.folder}; "
                f"to go on: xinet train --resume {self.folder}"
            )
            return
        share = self.held_up / max(time.monotonic() - self.began, 1e-9)
        size = memory.size_text(self.checkpoint_bytes)
        if self.checkpoint_bytes:
            cost = f"{self.held_up:.1f} s ({share:.1%})"
            self.display.note(f"checkpoints held training up for {cost}; the last one has {size}")
        where = "Gymnasium's " if in_gymnasium(self.config.task) else ""
        self.display.note(f"policies saved; running them in {where}{self.config.task}")
        for identity, folder in zip(self.identities, folders, strict=True):
            returns = evaluation.evaluate(files.load_policy(folder), self.config.final_episodes)
            every = [float(value) for value in returns]
            record = {"kind": "gymnasium"} | self._stamp(identity)
            self.metrics.write(record | {"return": float(returns.mean()), "returns": every})

    def _of_members(self, leaf: jax.Array) -> np.ndarray:
        """Returns an array on the host, without what pads it."""
        return np.asarray(leaf)[: len(self.identities)]

    def _stamp(self, identity: Identity) -> dict[str, Any]:
        which: dict[str, Any] = {"member": identity.folder, "seed": identity.seed}
        which |= ({} if identity.nu is None else {"nu": identity.nu}) | identity.settings
        return which | {"environment_steps": self.steps, "seconds": round(time.monotonic() - self.started, 3)}

    def _layers(self, state: Member, member: int) -> tuple[LayerCount, ...]:
        alive = members.select(state.agent.alive, member)
        return count(self.agent.dense, self.agent.networks.shape, alive)

    def _policy(self, state: Member, member: int) -> Policy:
        return policy.from_agent(
            self.agent,
            members.select(state.agent, member),
            task=self.plan.task,
            name=self.config.agent,
            seed=self.identities[member].seed,
            nu=self.identities[member].nu,
            settings=self.identities[member].settings,
            environment_steps=self.steps,
        )

    def _show(self, segment: Segment, position: int) -> None:
        rate, config = self.paces[segment.phase].rate, self.config
        totals = {"collect": config.steps, "pretrain": config.pretrain_updates, "train": config.steps}
        left_to_train = config.steps - max(self.steps, config.random_steps)
        train_rate = self.paces["train"].rate
        self.display.show(
            Status(
                phase=PHASES[segment.phase] if self.paces[segment.phase].compiled else "compiling",
                done=position,
                total=totals[segment.phase],
                episode_return=self.newest_return,
                parameters_left=self.parameters_left,
                updates_per_second=None if segment.phase == "collect" else rate,
                seconds_left=left_to_train / train_rate if train_rate else None,
                diverged=len(self.diverged),
            )
        )
