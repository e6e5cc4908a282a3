"""Every setting of a run: frozen dataclasses with presets, checks, and a YAML form.

The sections nest (`config.pruning.nu`), but every field name is unique, so the command line and `make_config` take
them flat (`--nu`, `make_config(nu=...)`).
"""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from xinet_jax.config.names import COSTS, ESTIMATORS, PRECISIONS, PRUNERS
from xinet_jax.errors import UserError, brief, unknown_name
from xinet_jax.tasks.names import BRAX_BACKENDS, ENGINES
from xinet_jax.tasks.options import parse_options
from xinet_jax.tasks.registry import check_physics, checked_options, task_names

AGENTS = ("sac", "ofenet", "xinet", "small", *PRUNERS)
COMPACT = ("off", "end", "auto")
PRESETS = ("quick", "paper")
NETWORKS = ("ofenet", "actor", "critic")
WEIGHTS_SEE = ("open", "mean", "sampled")
# Hyper-parameters that may have several values: leaves of `xinet_jax.state.Hyper`, which differ from member to member.
SWEPT = ("nu", "learning_rate", "discount", "tau", "target_entropy", "initial_temperature", "weight_decay")
SWEPT += ("theta_learning_rate", "estimator_floor", "nu_scale_ofenet", "nu_scale_actor", "nu_scale_critic")


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Network sizes, before pruning."""

    blocks: int = 4
    """DenseNet blocks in each of OFENet's two branches [blocks]. Without effect for agent sac."""
    block_units: int = 40
    """Units that one DenseNet block adds [units]."""
    actor_hidden: tuple[int, ...] = (128, 128)
    """Width of each hidden layer of the actor [units]."""
    critic_hidden: tuple[int, ...] = (128, 128)
    """Width of each hidden layer of each of the two critics [units]."""
    widths_from: str | None = None
    """For agent small: the run or policy folder whose final widths, and dense sizes, it is trained with; of a run with
    several seeds each seed takes its own, of a run with several prices those of nu [path]."""
    uniform_widths: bool = False
    """For agent small: the same fraction of every dense layer instead, with as many parameters in all."""


@dataclasses.dataclass(frozen=True)
class SacConfig:
    """Soft Actor-Critic. What takes a list may have several values: see --nu."""

    discount: tuple[float, ...] = (0.99,)
    """Discount factor gamma per environment step [0 to 1]."""
    tau: tuple[float, ...] = (0.005,)
    """Share of the critics that moves into the target critics at each update [0 to 1]."""
    learning_rate: tuple[float, ...] = (3e-4,)
    """Adam's step size for every network and the temperature [per update]."""
    weight_decay: tuple[float, ...] = (0.0,)
    """Decay of the networks' kernels lambda, as a share of the step size [per update]."""
    batch_size: int = 256
    """Transitions in a minibatch [transitions]."""
    replay_capacity: int = 1_000_000
    """Newest transitions kept per seed; never more than `steps` are allocated [transitions]."""
    initial_temperature: tuple[float, ...] = (1.0,)
    """Entropy temperature alpha at the start; it is learnt [reward per nat]."""
    target_entropy: tuple[float, ...] | None = None
    """Entropy that the temperature steers the policy towards; None: minus the action dimension [nats]."""


@dataclasses.dataclass(frozen=True)
class PruningConfig:
    """Gates and pruning (docs: the method, sections 2 to 5). For agents xinet, magnitude and random."""

    gated: tuple[str, ...] = NETWORKS
    """Networks whose hidden units carry gates: any of ofenet, actor, critic [names]."""
    nu: tuple[float, ...] = (400.0,)
    """Price of all parameters together: the loss that removing everything may cost. Several: every seed is trained with
    each, all in one program; of several such lists, with every combination [nats]."""
    nu_scale_ofenet: tuple[float, ...] = (1.0,)
    """Multiplier of nu for OFENet's gates [factor]."""
    nu_scale_actor: tuple[float, ...] = (0.35,)
    """Multiplier of nu for the actor's gates [factor]."""
    nu_scale_critic: tuple[float, ...] = (0.35,)
    """Multiplier of nu for the critics' gates [factor]."""
    cost: str = "parameters"
    """What the price counts: parameters, or flops of one inference of every network [name]."""
    prune_start: int = 10_000
    """Environment steps before the first step of theta [environment steps]."""
    prune_start_actor: int | None = None
    """The same for the actor's gates; None: prune_start [environment steps]."""
    prune_start_critic: int | None = None
    """The same for the critics' gates; None: prune_start [environment steps]."""
    prune_ramp: int = 5_000
    """Environment steps over which nu then rises linearly from 0; 0: at once [environment steps]."""
    prune_stop: int | None = 20_000
    """Environment steps after which every gate is rounded to 0 or 1 and theta rests; None: never [environment
    steps]."""
    final_share: float = 0.25
    """Share of all parameters that agents magnitude and random prune down to, from prune_start over prune_ramp
    [0 to 1]."""
    keep_share: float = 0.0
    """Share of what cost counts at which xinet stops pruning: nu is charged only while theta expects more to be left,
    and no more is left at prune_stop. 0: whatever nu leaves [0 to 1]."""
    theta_learning_rate: tuple[float, ...] = (1e-3,)
    """Step size of theta's projected gradient descent [per update]."""
    theta_every: int = 8
    """Updates from one step of theta to the next; the step size grows with it [updates]."""
    theta_min: float = 0.02
    """A unit whose theta falls to this value is pruned for good [0 to 1]."""
    prune_every: int = 100
    """Updates from one time that units are pruned to the next [updates]."""
    estimator: str = "heun"
    """Gradient estimator for theta: heun, straight_through or disarm [name]."""
    estimator_floor: tuple[float, ...] = (0.05,)
    """Smallest denominator of the estimators heun and disarm; with weights_see mean or sampled [probability]."""
    weights_see: str = "open"
    """Gates at which weights learn and networks act: open (1 until a unit is pruned), mean (theta itself) or sampled
    (0/1 draws; acting and targets at theta) [name]."""
    leave_out: float = 0.0625
    """With weights_see open: how likely theta's pass leaves out a unit to learn what it is worth [probability]."""
    actor_speaks: bool = True
    """Whether OFENet's gates answer to the actor's loss, beside the auxiliary task's and the critics'."""
    compact: str = "auto"
    """When pruned units leave the arrays: auto (during training too, whenever that saves more time than compiling for
    the new sizes takes), end (of the saved policy only) or off (never) [name]."""
    width_multiple: int | None = None
    """Layers of agents in training are compacted to a multiple of this; None: 8, on TPUs 128 [units]."""

    def start(self, network: str) -> int:
        """Returns the environment steps before the first step of one network's gates."""
        own = {"actor": self.prune_start_actor, "critic": self.prune_start_critic}.get(network)
        return self.prune_start if own is None else own


@dataclasses.dataclass(frozen=True)
class Config:
    """Train agents that prune themselves while they learn, and save each as a smaller policy."""

    task: str = "HalfCheetah-v5"
    """Task to learn [name]."""
    task_options: tuple[str, ...] = ()
    """Options of the task by Gymnasium's names, as name=value: ctrl_cost_weight=0.2 healthy_z_range=0.5,1.2 [list]."""
    preset: str = "quick"
    """Defaults of all other fields: quick (small networks, minutes) or paper (published sizes) [name]."""
    agent: str = "xinet"
    """sac (no feature extractor), ofenet (dense OFENet-SAC), xinet (OFENet-SAC that prunes itself); baselines small
    (OFENet-SAC with the widths that --widths-from ended with), magnitude and random (pruned on a schedule) [name]."""
    engine: str = "auto"
    """Physics: mjx (on the device), native (MuJoCo's C engine, on the CPU), brax (Brax's own tasks) or auto: native on
    CPU, else mjx, where the task has it [name]."""
    mjx_impl: str = "jax"
    """Which of MJX's implementations: jax, or warp (MuJoCo Warp, for NVIDIA's GPUs; extra `warp`) [name]."""
    physics: str = "exact"
    """exact: the model's own settings, as in Gymnasium; fast: fewer iterations of the solver (docs: tasks) [name]."""
    brax_backend: str | None = None
    """Physics of Brax's tasks: generalized, positional, spring or mjx; None: generalized [name]."""
    precision: str = "float32"
    """Matrix products of the networks: float32 (in full, also where accelerators would take shortcuts) or bfloat16
    (factors rounded, sums in float32; everything else stays float32) [name]."""
    seeds: int = 1
    """Seeds trained side by side in one program, with every value of nu and the like [seeds]."""
    devices: int | None = None
    """Devices that members are spread over; None: all accelerators or, on CPUs, a core for each member while there are
    cores [devices]."""
    distributed: bool = False
    """Join other processes that were given the same command, and share the members between them. Happens by itself
    where a cluster's launcher has started several (docs: scaling)."""
    first_seed: int = 0
    """Seed of the first agent; the others count up from it [integer]."""
    steps: int = 40_000
    """Environment steps per seed, random ones included [environment steps]."""
    random_steps: int = 5_000
    """Steps with random actions, before anything is learnt [environment steps]."""
    pretrain_updates: int = 5_000
    """Updates of OFENet alone on the random steps, before SAC starts. Without effect for agent sac [updates]."""
    eval_every: int = 5_000
    """Steps from one evaluation of the deterministic policy to the next [environment steps]."""
    eval_episodes: int = 5
    """Episodes of each evaluation during training, per seed [episodes]."""
    final_episodes: int = 10
    """Episodes per seed that the saved policy is given at the end, in Gymnasium where it has the task [episodes]."""
    log_every: int = 1_000
    """Steps from one line of metrics per seed to the next [environment steps]."""
    out: str | None = None
    """Run folder, which must be new; None: runs/TASK-AGENT-PRESET, with a number behind it until it is new [path]."""
    overwrite: bool = False
    """Replace the run in the run folder, if there is one."""
    resume: str | None = None
    """Run folder whose run goes on from its newest checkpoint, with its own configuration; steps, evaluation, logging
    and checkpoints may be changed [path]."""
    checkpoint_every: int = 5_000
    """Steps from one checkpoint to the next [environment steps]."""
    checkpoint_keep: int = 2
    """Newest checkpoints kept, beside the one with the best return [checkpoints]."""
    networks: NetworkConfig = NetworkConfig()
    sac: SacConfig = SacConfig()
    pruning: PruningConfig = PruningConfig()

    @property
    def run_folder(self) -> Path:
        """The folder that the run writes to."""
        return Path(self.out or f"runs/{self.task.replace('/', '-')}-{self.agent}-{self.preset}")

    @property
    def options_of_task(self) -> dict[str, Any]:
        """The task's options by name. Raises UserError for text that is none."""
        backend = () if self.brax_backend is None else (f"backend={self.brax_backend}",)
        return parse_options((*self.task_options, *backend))

    @property
    def gated(self) -> tuple[str, ...]:
        """The networks whose units carry gates. Those of agent small stay as they are, and close its padding."""
        every = {"small": NETWORKS, "sac": (), "ofenet": ()}
        return every.get(self.agent, self.pruning.gated)

    @property
    def pruner(self) -> str:
        """What moves the gates: theta, magnitude, random or none."""
        return {"xinet": "theta"}.get(self.agent, self.agent if self.agent in PRUNERS else "none")


_EXPONENTIAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", re.ASCII)
_SECTIONS = {"networks": NetworkConfig, "sac": SacConfig, "pruning": PruningConfig}

# What may differ between a run and its resumption: nothing that was learnt depends on it.
CHANGEABLE = ("steps", "log_every", "eval_every", "eval_episodes", "final_episodes", "checkpoint_every")
CHANGEABLE += ("checkpoint_keep", "devices", "distributed", "resume")

# Ota et al. 2020, but for the pruning schedule, which is ours.
_PAPER = {
    "steps": 1_000_000,
    "random_steps": 10_000,
    "pretrain_updates": 10_000,
    "eval_every": 10_000,
    "checkpoint_every": 50_000,
    "eval_episodes": 10,
    "actor_hidden": (256, 256),
    "critic_hidden": (256, 256),
    "prune_start": 50_000,
    "prune_ramp": 50_000,
    "prune_stop": 200_000,
}
# OFENet's published widths: blocks per branch, and units a block so that a branch adds 240 (Ota et al. 2020).
_PAPER_BLOCKS = {"HalfCheetah-v5": (8, 30)}
_PAPER_BLOCKS_ELSEWHERE = (6, 40)


def make_config(task: str = "HalfCheetah-v5", preset: str = "quick", agent: str = "xinet", **overrides: Any) -> Config:
    """Returns a checked configuration: the preset for a task and an agent, with fields overridden by name.

    Args:
      task: a registered task.
      preset: `quick` or `paper`.
      agent: one of `AGENTS`.
      **overrides: any other field of `Config` or of its sections, by its own name (`steps=1000, nu=100`).

    Raises:
      UserError: for an unknown name (with the nearest match) or a value out of range.
    """
    config = override(preset_config(task, preset, agent), overrides)
    check(config)
    return config


def preset_config(task: str, preset: str, agent: str) -> Config:
    """Returns the defaults that a preset stands for. Raises UserError for unknown names."""
    for kind, given, allowed in (("task", task, task_names()), ("preset", preset, PRESETS), ("agent", agent, AGENTS)):
        if given not in allowed:
            raise unknown_name(kind, given, allowed)
    config = Config(task=task, preset=preset, agent=agent)
    if preset == "quick":
        return config
    blocks, block_units = _PAPER_BLOCKS.get(task, _PAPER_BLOCKS_ELSEWHERE)
    return override(config, _PAPER | {"blocks": blocks, "block_units": block_units})


def field_names() -> dict[str, str | None]:
    """Returns every field's name and the section that holds it (None: the top)."""
    top = {f.name: None for f in dataclasses.fields(Config) if f.name not in _SECTIONS}
    return top | {f.name: name for name, section in _SECTIONS.items() for f in dataclasses.fields(section)}


def field_types() -> dict[str, Any]:
    """Returns every field's type by the field's own name."""
    return {
        name: hint
        for section in (Config, *_SECTIONS.values())
        for name, hint in typing.get_type_hints(section).items()
        if name not in _SECTIONS
    }


def override(config: Config, overrides: dict[str, Any]) -> Config:
    """Returns the configuration with some fields replaced, by flat names. Raises UserError for an unknown field."""
    homes = field_names()
    sections: dict[str, dict[str, Any]] = {name: {} for name in _SECTIONS}
    top = {}
    for name, value in overrides.items():
        if name not in homes:
            raise unknown_name("field", name, homes)
        value = tuple(value) if isinstance(value, list) else value
        if name in SWEPT and isinstance(value, (int, float)) and not isinstance(value, bool):
            value = (value,)
        if homes[name] is None:
            top[name] = value
        else:
            sections[homes[name]][name] = value
    replaced = {name: dataclasses.replace(getattr(config, name), **values) for name, values in sections.items()}
    return dataclasses.replace(config, **top, **replaced)


def check(config: Config) -> None:
    """Checks every field's type, name and range.

    Raises:
      UserError: names the field, what was given and what is allowed.
    """
    flat = to_flat(config)
    hints = typing.get_type_hints(Config) | {
        name: hint for section in _SECTIONS.values() for name, hint in typing.get_type_hints(section).items()
    }
    for name, value in flat.items():
        if not _has_type(value, hints[name]):
            raise UserError(f"{name} must be {_describe(hints[name])}, not {brief(value, quoted=True)}")
    names = {
        "task": (config.task, task_names()),
        "preset": (config.preset, PRESETS),
        "agent": (config.agent, AGENTS),
        "engine": (config.engine, ENGINES),
        "brax_backend": (config.brax_backend or BRAX_BACKENDS[0], BRAX_BACKENDS),
        "precision": (config.precision, PRECISIONS),
        "cost": (config.pruning.cost, COSTS),
        "estimator": (config.pruning.estimator, ESTIMATORS),
        "weights_see": (config.pruning.weights_see, WEIGHTS_SEE),
        "compact": (config.pruning.compact, COMPACT),
    }
    for kind, (given, allowed) in names.items():
        if given not in allowed:
            raise unknown_name(kind, given, allowed)
    for given in config.pruning.gated:
        if given not in NETWORKS:
            raise unknown_name("gated network", given, NETWORKS)
    gated = config.pruning.gated
    _require(len(set(gated)) == len(gated), "gated", gated, "a list of different networks")

    for name, value in flat.items():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, int) or (isinstance(item, float) and not math.isinf(item)):
                _require(abs(item) < (2**31 if isinstance(item, int) else 3e38), name, item, "a smaller number")
    for name, most in (("blocks", 1000), ("block_units", 2**20), ("batch_size", 2**24), ("seeds", 2**16)):
        _require(flat[name] <= most, name, flat[name], f"at most {most}")
    for name in ("out", "widths_from", "resume"):
        _require(flat[name] is None or flat[name].strip(), name, repr(flat[name]), "a path")
    at_least_one = "seeds steps eval_every eval_episodes final_episodes log_every blocks block_units batch_size"
    at_least_one += " replay_capacity theta_every prune_every checkpoint_every checkpoint_keep"
    _require(config.devices is None or config.devices >= 1, "devices", config.devices, "at least 1")
    for name in at_least_one.split():
        _require(flat[name] >= 1, name, flat[name], "at least 1")
    for name in ("actor_hidden", "critic_hidden"):
        _require(
            flat[name] and all(w >= 1 for w in flat[name]), name, flat[name], "one or more widths, each at least 1"
        )
    for name in ("first_seed", "pretrain_updates", "random_steps", "prune_start", "prune_ramp"):
        _require(flat[name] >= 0, name, flat[name], "0 or more")
    if config.brax_backend is not None:
        _require(config.task.startswith("brax/"), "brax_backend", config.brax_backend, "for one of Brax's tasks")
    checked_options(config.task, config.options_of_task)
    check_physics(config.task, config.engine, config.mjx_impl, config.physics)
    _check_swept(config, flat)
    _require(config.first_seed + config.seeds <= 2**31, "first_seed", config.first_seed, "below 2**31, with all seeds")
    _require(0 < config.pruning.theta_min < 1, "theta_min", config.pruning.theta_min, "between 0 and 1")
    leave_out = config.pruning.leave_out
    _require(0 < leave_out <= 0.5, "leave_out", leave_out, "above 0 and at most 0.5")
    _require(
        1 <= config.random_steps < config.steps,
        "random_steps",
        config.random_steps,
        f"at least 1 and below steps ({config.steps})",
    )
    final_share, multiple = config.pruning.final_share, config.pruning.width_multiple
    _require(0 < final_share <= 1, "final_share", final_share, "above 0 and at most 1")
    keep = config.pruning.keep_share
    _require(0 <= keep < 1, "keep_share", keep, "from 0 to below 1")
    if keep and config.agent != "xinet":
        raise UserError(f"keep_share is for agent xinet, not for {config.agent}")
    _require(multiple is None or multiple >= 1, "width_multiple", multiple, "at least 1")
    if config.pruner != "none":
        _require(len(gated) > 0, "gated", (), "one network or more (--agent ofenet has no gates)")
        for name in ("prune_start", "prune_start_actor", "prune_start_critic"):
            _require((flat[name] or 0) >= 0, name, flat[name], "0 or more")
        for network in gated:
            _check_schedule(config, network)
    if config.agent in PRUNERS:
        own = config.pruning.prune_start_actor, config.pruning.prune_start_critic
        if own != (None, None):
            raise UserError(f"prune_start_actor and prune_start_critic are for agent xinet, not for {config.agent}")
        end = config.pruning.prune_start + config.pruning.prune_ramp + config.pruning.prune_every
        _require(end <= config.steps, "steps", config.steps, f"at least {end}, or the schedule does not end")
    widths_from = config.networks.widths_from
    if config.agent == "small" and widths_from is None:
        raise UserError("agent small needs widths_from: the run or policy folder whose widths to take")
    if config.agent != "small" and (widths_from is not None or config.networks.uniform_widths):
        name = "uniform_widths" if widths_from is None else "widths_from"
        raise UserError(f"{name} is for agent small, not for {config.agent}")
    capacity, batch_size = config.sac.replay_capacity, config.sac.batch_size
    _require(capacity >= batch_size, "replay_capacity", capacity, f"at least batch_size ({batch_size})")
    _check_effective(config, flat)


def _check_schedule(config: Config, network: str) -> None:
    """Refuses a schedule that prunes nothing of a gated network.

    Update `u` is taken after environment step `random_steps + 1 + u`. Theta moves at every `theta_every`-th update from
    the network's start to `prune_stop`, units are pruned at every `prune_every`-th, and at `prune_stop` all gates are
    rounded. The price is 0 at the start itself if it rises by a ramp.
    """
    rules, first = config.pruning, config.random_steps + 1
    name = f"prune_start_{network}" if getattr(rules, f"prune_start_{network}", None) is not None else "prune_start"
    start, stop = rules.start(network), rules.prune_stop
    _require(start < config.steps, name, start, f"below steps ({config.steps}), or nothing is pruned")
    if config.pruner != "theta":
        return
    last = config.steps
    if stop is not None:
        _require(start < stop, name, start, f"below prune_stop ({stop}), or nothing is pruned")
        _require(stop >= first, "prune_stop", stop, f"above random_steps ({first - 1}), or nothing is pruned")
        last = min(stop, config.steps)

    def next_update(step: int, every: int) -> int:
        return first + -(-(step - first) // every) * every

    moved = next_update(max(start + (rules.prune_ramp > 0), first), rules.theta_every)
    allowed = f"small enough for theta to move at a price between environment steps {max(start, first)} and {last}"
    _require(moved <= last, "theta_every", rules.theta_every, allowed)
    if stop is None or stop > config.steps:
        pruned = next_update(moved, rules.prune_every)
        allowed = f"small enough for units to be pruned between environment steps {moved} and {last}"
        _require(pruned <= last, "prune_every", rules.prune_every, allowed)


_BY_SCHEDULE = ("gated", "final_share", "prune_start", "prune_ramp", "prune_every", "compact", "width_multiple")
# What each kind of agent reads of `PruningConfig`. The price says which of a run's widths agent small takes.
_READ = {
    "sac": (),
    "ofenet": (),
    "small": ("nu", "compact", "width_multiple"),
    "xinet": tuple(f.name for f in dataclasses.fields(PruningConfig) if f.name != "final_share"),
    **dict.fromkeys(PRUNERS, _BY_SCHEDULE),
}


def _without_effect(config: Config) -> Iterator[tuple[str, str]]:
    """Yields the settings that change nothing with the others as they are, and why."""
    for field in dataclasses.fields(PruningConfig):
        if field.name not in _READ[config.agent]:
            yield field.name, f"for agent {config.agent}"
    if config.agent == "sac":
        for name in ("blocks", "block_units", "pretrain_updates"):
            yield name, "for agent sac, which has no OFENet"
    rules = config.pruning
    if rules.compact != "auto":
        yield "width_multiple", f"with compact {rules.compact}"
    if config.agent != "xinet":
        return
    for network in NETWORKS:
        if network not in rules.gated:
            yield f"nu_scale_{network}", f"where {network} is not gated"
            if network == "ofenet":
                yield "actor_speaks", "where ofenet is not gated"
            else:
                yield f"prune_start_{network}", f"where {network} is not gated"
    if all(getattr(rules, f"prune_start_{network}", None) is not None for network in rules.gated):
        yield "prune_start", "where every gated network has a start of its own"
    if rules.weights_see == "open":  # probabilities are leave_out, and never less
        yield "estimator_floor", "with weights_see open"
    else:
        yield "leave_out", f"with weights_see {rules.weights_see}"
    if rules.estimator == "straight_through":
        yield "estimator_floor", "for estimator straight_through"


def _check_effective(config: Config, flat: dict[str, Any]) -> None:
    """Refuses a setting other than the preset's that changes nothing."""
    preset = to_flat(preset_config(config.task, config.preset, config.agent))
    for name, why in _without_effect(config):
        if flat[name] != preset[name]:
            raise UserError(f"{name} has no effect {why}: leave it out, rather than {_describe_value(flat[name])}")


_RANGES = {
    "discount": (lambda v: 0 <= v <= 1, "from 0 to 1"),
    "tau": (lambda v: 0 <= v <= 1, "from 0 to 1"),
    "initial_temperature": (lambda v: 0 < v < math.inf, "above 0 and finite"),
    "target_entropy": (math.isfinite, "finite"),
    "estimator_floor": (lambda v: 0 < v <= 1, "above 0 and at most 1"),
}
_NOT_NEGATIVE = (lambda v: 0 <= v < math.inf, "0 or more")


def _check_swept(config: Config, flat: dict[str, Any]) -> None:
    for name in SWEPT:
        values, (holds, allowed) = flat[name], _RANGES.get(name, _NOT_NEGATIVE)
        if values is None:
            continue
        _require(len(values) > 0, name, values, "one number or more")
        _require(all(map(holds, values)), name, values, allowed)
        distinct = len(set(map(value_text, values))) == len(values)
        _require(distinct, name, values, "a list of different numbers, to six digits")
    for name in varied(config):
        network = name.removeprefix("nu_scale_")
        if config.pruner != "theta" and field_names()[name] == "pruning":
            raise UserError(f"several values of {name} are for agent xinet: agent {config.agent} has no price")
        if network in NETWORKS and network not in config.gated:
            raise UserError(f"several values of {name} make no difference: {network} is not gated")
    _require(max(config.sac.learning_rate) <= 1e20, "learning_rate", config.sac.learning_rate, "at most 1e20")
    decay = max(config.sac.learning_rate) * max(config.sac.weight_decay)
    _require(decay <= 1, "weight_decay", config.sac.weight_decay, "at most 1 / learning_rate")
    settings = math.prod(len(flat[name]) for name in varied(config))
    allowed = f"at most {2**16} for all combinations of values together"
    _require(settings * config.seeds <= 2**16, "seeds", config.seeds, allowed)


def varied(config: Config) -> tuple[str, ...]:
    """Returns the hyper-parameters that have several values."""
    flat = to_flat(config)
    return tuple(name for name in SWEPT if len(flat[name] or ()) > 1)


def to_flat(config: Config) -> dict[str, Any]:
    """Returns all fields by their own names."""
    flat = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.name not in _SECTIONS}
    for name in _SECTIONS:
        flat |= dataclasses.asdict(getattr(config, name))
    return flat


def check_resumed(config: Config, saved: Config) -> None:
    """Checks a configuration against that of the run which it resumes.

    Raises:
      UserError: names a field that may not be changed, and those that may.
    """
    if config.out is not None or config.overwrite:
        raise UserError("a run is resumed in its own folder: resume goes without out and overwrite")
    ours, theirs = to_flat(config), to_flat(saved)
    for name, value in ours.items():
        if name not in CHANGEABLE and value != theirs[name]:
            raise UserError(
                f"{name} is {_describe_value(theirs[name])} in the run and cannot be changed to "
                f"{_describe_value(value)} when it is resumed: only {', '.join(CHANGEABLE[:-1])} can"
            )


def save_config(config: Config, path: Path) -> None:
    """Writes the configuration as YAML, section by section."""
    nested = dataclasses.asdict(config)
    plain = {key: _plain(value) for key, value in nested.items()}
    aside = path.with_name(f"{path.name}.new")
    aside.write_text(yaml.safe_dump(plain, sort_keys=False))
    aside.replace(path)  # at once: a run that is killed here still has its configuration


def load_config(path: Path | str) -> Config:
    """Reads and checks a configuration that `save_config` wrote. Fields that are missing are the preset's.

    Raises:
      UserError: if the file is missing, is not such a YAML file, or holds a field or value that is not allowed.
    """
    fields = read_config(path)
    try:
        return make_config(**fields)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_config(path: Path | str) -> dict[str, Any]:
    """Reads the fields of a configuration that `save_config` wrote, by their own names. Their values are not checked.

    Raises:
      UserError: if the file is missing, is not such a YAML file, or holds another field.
    """
    path = Path(path)
    try:
        nested = yaml.safe_load(path.read_bytes())  # as UTF-8, wherever it is read
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"cannot read configuration {path}: {str(error).splitlines()[0]}") from None
    if not isinstance(nested, dict) or not all(isinstance(key, str) for key in nested):
        raise UserError(f"{path} is no configuration: it must be a mapping from field names to values")
    homes, types_of_fields, flat = field_names(), field_types(), {}
    for name, value in nested.items():
        section = name if name in _SECTIONS and isinstance(value, dict) else None
        for key, item in (value if section else {name: value}).items():
            if key in homes and homes[key] != section:
                raise UserError(f"{path}: field {brief(key)} belongs {_place(homes[key])}, not {_place(section)}")
            if key not in homes:
                raise UserError(f"{path}: {unknown_name('field', key, homes)}")
            flat[key] = _as_number(item) if _takes_numbers(types_of_fields[key]) else item
    return flat


def value_text(value: float) -> str:
    """Returns a hyper-parameter as it is written in tables and in names of folders: to six digits."""
    return f"{value:.6g}"


def _takes_numbers(hint: Any) -> bool:
    """Returns whether a field of some type takes a number, or a list of them."""
    return hint in (int, float) or any(map(_takes_numbers, typing.get_args(hint)))


def _as_number(value: Any) -> Any:
    """Returns the numbers that texts stand for, in a list too. YAML 1.1 reads 3e-4 as a text, and 3.0e-4 as a number.

    Lists within lists stay as they are: no field takes them, and a few lines of YAML can nest billions of values.
    """
    items = value if isinstance(value, list) else [value]
    read = [float(item) if isinstance(item, str) and _EXPONENTIAL.fullmatch(item) else item for item in items]
    return read if isinstance(value, list) else read[0]


def _place(section: str | None) -> str:
    return f"into section {section}" if section else "to the top"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(_alone(key, item)) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _alone(name: str, value: Any) -> Any:
    """Returns the one value of a hyper-parameter that has only one."""
    return value[0] if name in SWEPT and isinstance(value, tuple) and len(value) == 1 else value


def _require(holds: Any, name: str, given: Any, allowed: str) -> None:
    if not holds:
        raise UserError(f"{name} must be {allowed}, not {_describe_value(given)}")


def _describe_value(value: Any) -> str:
    return brief(" ".join(map(brief, value)) or "empty" if isinstance(value, tuple) else value)


def _has_type(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_has_type(value, argument) for argument in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_has_type(item, arguments[0]) for item in value)
    if hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # not NaN
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(argument) for argument in arguments)
    if origin is tuple:
        return f"a list, each item {_describe(arguments[0])}"
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    return words[hint]
