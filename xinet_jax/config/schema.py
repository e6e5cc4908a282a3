"""Every setting of a run, as frozen dataclasses.

The sections nest (`config.pruning.nu`), but every field name is unique, so the command line and `make_config` take
them flat (`--nu`, `make_config(nu=...)`).
"""

import dataclasses
from pathlib import Path

from xinet_jax.config.declarations import (
    ABOVE_0_TO_1,
    AT_LEAST_1,
    BETWEEN_0_AND_1,
    FINITE,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    WIDTHS,
    Range,
    at_most,
    ranged,
    swept,
)
from xinet_jax.config.kinds import KINDS, AgentKind
from xinet_jax.config.names import NETWORKS


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Network sizes, before pruning."""

    blocks: int = ranged(4, at_most(1000), AT_LEAST_1)
    """DenseNet blocks in each of OFENet's two branches [blocks]. Without effect for agent sac."""
    block_units: int = ranged(40, at_most(2**20), AT_LEAST_1)
    """Units that one DenseNet block adds [units]."""
    actor_hidden: tuple[int, ...] = ranged((128, 128), WIDTHS)
    """Width of each hidden layer of the actor [units]."""
    critic_hidden: tuple[int, ...] = ranged((128, 128), WIDTHS)
    """Width of each hidden layer of each of the two critics [units]."""
    normalize_observations: bool = False
    """Whether networks take observations less their running mean, divided by their running standard deviation."""
    widths_from: str | None = None
    """For agent small: the run or policy folder whose final widths, and dense sizes, it is trained with; of a run with
    several seeds each seed takes its own, of a run with several prices those of nu [path]."""
    uniform_widths: bool = False
    """For agent small: the same fraction of every dense layer instead, with as many parameters in all."""


@dataclasses.dataclass(frozen=True)
class SacConfig:
    """Soft Actor-Critic. What takes a list may have several values: see --nu."""

    discount: tuple[float, ...] = swept(0.99, FRACTION, axis=2)
    """Discount factor gamma per environment step [0 to 1]."""
    tau: tuple[float, ...] = swept(0.005, FRACTION, axis=3)
    """Share of the critics that moves into the target critics at each update [0 to 1]."""
    learning_rate: tuple[float, ...] = swept(3e-4, NOT_NEGATIVE, Range("at most 1e20", most=1e20), axis=1)
    """Adam's step size for every network and the temperature [per update]."""
    weight_decay: tuple[float, ...] = swept(0.0, NOT_NEGATIVE, axis=6)
    """Decay of the networks' kernels lambda, as a share of the step size [per update]."""
    batch_size: int = ranged(256, at_most(2**24), AT_LEAST_1)
    """Transitions in a minibatch [transitions]."""
    replay_capacity: int = ranged(1_000_000, AT_LEAST_1)
    """Newest transitions kept per seed, or fewer if episodes last less than 16 steps on average; never more than
    `steps` are allocated [transitions]."""
    initial_temperature: tuple[float, ...] = swept(1.0, POSITIVE, axis=5)
    """Entropy temperature alpha at the start; it is learnt [reward per nat]."""
    target_entropy: tuple[float, ...] | None = swept(None, FINITE, axis=4)
    """Entropy that the temperature steers the policy towards; None: minus the action dimension [nats]."""


@dataclasses.dataclass(frozen=True)
class PruningConfig:
    """Gates and pruning (docs: the method, sections 2 to 5). For agents xinet, magnitude and random."""

    gated: tuple[str, ...] = NETWORKS
    """Networks whose hidden units carry gates: any of ofenet, actor, critic [names]."""
    price: str = "fixed"
    """fixed: nu is the price, from prune_start over prune_ramp. found: at each step of theta, the price is the smallest
    at which no more is expected to be left than a schedule says: cubic from 1 to keep_share, from prune_start over
    prune_ramp [name]."""
    nu: tuple[float, ...] = swept(400.0, NOT_NEGATIVE, axis=0)
    """Price of all parameters together: the loss that removing everything may cost. Several: every seed is trained with
    each, all in one program; of several such lists, with every combination [nats]."""
    nu_scale_ofenet: tuple[float, ...] = swept(1.0, NOT_NEGATIVE, axis=9)
    """Multiplier of nu for OFENet's gates [factor]."""
    nu_scale_actor: tuple[float, ...] = swept(0.35, NOT_NEGATIVE, axis=10)
    """Multiplier of nu for the actor's gates [factor]."""
    nu_scale_critic: tuple[float, ...] = swept(0.35, NOT_NEGATIVE, axis=11)
    """Multiplier of nu for the critics' gates [factor]."""
    cost: str = "parameters"
    """What the price counts: parameters, or flops of one inference of every network [name]."""
    prune_start: int = ranged(10_000, NOT_NEGATIVE)
    """Environment steps before the first step of theta [environment steps]."""
    prune_start_actor: int | None = ranged(None, NOT_NEGATIVE)
    """The same for the actor's gates; None: prune_start [environment steps]."""
    prune_start_critic: int | None = ranged(None, NOT_NEGATIVE)
    """The same for the critics' gates; None: prune_start [environment steps]."""
    prune_ramp: int = ranged(5_000, NOT_NEGATIVE)
    """Environment steps over which nu then rises linearly from 0, or the share that may be left falls; 0: at once
    [environment steps]."""
    prune_stop: int | None = 20_000
    """Environment steps after which every gate is rounded to 0 or 1 and theta rests; None: never [environment
    steps]."""
    final_share: float = ranged(0.25, ABOVE_0_TO_1)
    """Share of all parameters that agents magnitude and random prune down to, from prune_start over prune_ramp
    [0 to 1]."""
    keep_share: float = ranged(0.0, Range("from 0 to below 1", least=0, below=1))
    """Share of what cost counts at which xinet stops pruning: nu is charged only while theta expects more to be left,
    and no more is left at prune_stop. 0: whatever nu leaves [0 to 1]."""
    theta_learning_rate: tuple[float, ...] = swept(1e-3, NOT_NEGATIVE, axis=7)
    """Step size of theta's projected gradient descent [per update]."""
    theta_every: int = ranged(8, AT_LEAST_1)
    """Updates from one step of theta to the next; the step size grows with it. Rounded up to whole rounds of updates
    (see update_ratio) [updates]."""
    theta_min: float = ranged(0.02, BETWEEN_0_AND_1)
    """A unit whose theta falls to this value is pruned for good [0 to 1]."""
    prune_every: int = ranged(100, AT_LEAST_1)
    """Updates from one time that units are pruned to the next [updates]."""
    actor_waits: int = ranged(0, at_most(2**31 - 1), NOT_NEGATIVE)
    """Updates for which the actor's weights stay as they are after units were pruned, while all else learns. For few
    large cuts: below prune_every, unless all units are pruned at once [updates]."""
    order: str = "worth"
    """What decides which units of a layer go first: worth (what the estimator says of each unit) or magnitude (the norm
    of a unit's weights; how many go still follows from their worth) [name]."""
    estimator: str = "heun"
    """Gradient estimator for theta: heun, straight_through or disarm, from the losses at sampled gates; or fisher, from
    the outputs with open gates, which needs weights_see open [name]."""
    estimator_floor: tuple[float, ...] = swept(0.05, ABOVE_0_TO_1, axis=8)
    """Smallest denominator of the estimators heun and disarm; with weights_see mean or sampled [probability]."""
    weights_see: str = "open"
    """Gates at which weights learn and networks act: open (1 until a unit is pruned), mean (theta itself) or sampled
    (0/1 draws; acting and targets at theta) [name]."""
    leave_out: float = ranged(0.0625, Range("above 0 and at most 0.5", above=0, most=0.5))
    """With weights_see open: how likely theta's pass leaves out a unit to learn what it is worth [probability]."""
    actor_speaks: bool = True
    """Whether OFENet's gates answer to the actor's loss, beside the auxiliary task's and the critics'."""
    compact: str = "auto"
    """When pruned units leave the arrays: auto (during training too, whenever that saves more time than compiling for
    the new sizes takes), end (of the saved policy only) or off (never) [name]."""
    width_multiple: int | None = ranged(None, AT_LEAST_1)
    """Layers of agents in training are compacted to a multiple of this; None: 8, on TPUs 128 [units]."""

    def start(self, network: str) -> int:
        """Returns the environment steps before the first step of one network's gates."""
        start = {"actor": self.prune_start_actor, "critic": self.prune_start_critic}.get(network)
        return self.prune_start if start is None else start


@dataclasses.dataclass(frozen=True)
class Config:
    """Train agents that prune themselves while they learn, and save each as a smaller policy."""

    task: str = "HalfCheetah-v5"
    """Task to learn [name]."""
    task_options: tuple[str, ...] = ()
    """Options of the task by Gymnasium's names, as name=value: ctrl_cost_weight=0.2 healthy_z_range=0.5,1.2 [list]."""
    preset: str = "quick"
    """Defaults of all other fields: quick (small networks, minutes), many-envs (the same networks, 32 environments),
    paper (published sizes), wide (larger ones) or playground (128 environments, as MuJoCo Playground trains SAC)
    [name]."""
    agent: str = "xinet"
    """sac (no feature extractor), ofenet (dense OFENet-SAC), xinet (OFENet-SAC that prunes itself); baselines small
    (OFENet-SAC with the widths that --widths-from ended with), magnitude and random (pruned on a schedule) [name]."""
    engine: str = "auto"
    """Physics: native (MuJoCo's C engine, on the host's cores), mjx (on the device), brax (Brax's own tasks),
    gymnasium (tasks gymnasium/NAME, on the host) or auto: native on CPUs and GPUs, mjx on TPUs, where the task has it
    [name]."""
    mjx_impl: str = "jax"
    """Which of MJX's implementations: jax, or warp (MuJoCo Warp, for NVIDIA's GPUs; extra `warp`) [name]."""
    physics: str = "exact"
    """exact: the model's own settings, as in Gymnasium; fast: fewer iterations of the solver (docs: tasks) [name]."""
    brax_backend: str | None = None
    """Physics of Brax's tasks: generalized, positional, spring or mjx; None: generalized [name]."""
    precision: str = "float32"
    """Matrix products of the networks: float32 (in full, also where accelerators would take shortcuts); tensorfloat32
    (factors rounded to 10 bits, on GPUs; elsewhere float32); or bfloat16 (factors rounded to 7 bits). Sums and
    everything else stay float32 [name]."""
    seeds: int = ranged(1, at_most(2**16), AT_LEAST_1)
    """Seeds trained side by side in one program, with every value of nu and the like [seeds]."""
    devices: int | None = ranged(None, AT_LEAST_1)
    """Devices that members are spread over; None: all accelerators or, on CPUs, a core for each member while there are
    cores [devices]."""
    distributed: bool = False
    """Join other processes that were given the same command, and share the members between them. Happens by itself
    where a cluster's launcher has started several (docs: scaling)."""
    envs: int = ranged(1, at_most(2**16), AT_LEAST_1)
    """Environments of each member, which are stepped together. Steps are counted over all of them; numbers of steps are
    rounded up to whole steps of all [environments]."""
    update_ratio: float | str | None = None
    """Updates per environment step, as a number or a fraction such as 1/8; with envs it must give a whole number of
    updates. None: one update for a step of all environments together [updates per environment step]."""
    first_seed: int = ranged(0, NOT_NEGATIVE)
    """Seed of the first agent; the others count up from it [integer]."""
    steps: int = ranged(40_000, AT_LEAST_1)
    """Environment steps per seed, of all its environments together, random ones included [environment steps]."""
    random_steps: int = ranged(5_000, NOT_NEGATIVE)
    """Steps with random actions, before anything is learnt [environment steps]."""
    pretrain_updates: int = ranged(5_000, NOT_NEGATIVE)
    """Updates of OFENet alone on the random steps, before SAC starts. Without effect for agent sac [updates]."""
    eval_every: int = ranged(5_000, AT_LEAST_1)
    """Steps from one evaluation of the deterministic policy to the next [environment steps]."""
    eval_episodes: int = ranged(5, AT_LEAST_1)
    """Episodes of each evaluation during training, per seed [episodes]."""
    final_episodes: int = ranged(10, AT_LEAST_1)
    """Episodes per seed that the saved policy is given at the end, in Gymnasium where it has the task [episodes]."""
    log_every: int = ranged(1_000, AT_LEAST_1)
    """Steps from one line of metrics per seed to the next [environment steps]."""
    log: tuple[str, ...] = ("jsonl",)
    """Where metrics go: jsonl (metrics.jsonl, which is always written), tensorboard and wandb (extras of these names)
    [names]."""
    out: str | None = None
    """Run folder, which must be new; None: runs/TASK-AGENT-PRESET, with a number behind it until it is new [path]."""
    overwrite: bool = False
    """Replace the run in the run folder, if there is one."""
    resume: str | None = None
    """Run folder whose run goes on from its newest checkpoint, with its own configuration; steps, evaluation, logging
    and checkpoints may be changed [path]."""
    branch_from: str | None = None
    """Run folder whose newest checkpoint a new run starts from. The new run has the other's configuration; options may
    change all of it but the networks, the task and the random steps [path]."""
    checkpoint_every: int = ranged(5_000, AT_LEAST_1)
    """Steps from one checkpoint to the next [environment steps]."""
    checkpoint_keep: int = ranged(2, AT_LEAST_1)
    """Newest checkpoints kept, beside the one with the best return [checkpoints]."""
    report: bool = True
    """Write a report of the run to report.html in its run folder, and renew it at evaluations."""
    networks: NetworkConfig = NetworkConfig()
    sac: SacConfig = SacConfig()
    pruning: PruningConfig = PruningConfig()

    @property
    def run_folder(self) -> Path:
        """The folder that the run writes to."""
        return Path(self.out or f"runs/{self.task.replace('/', '-')}-{self.agent}-{self.preset}")

    @property
    def kind(self) -> AgentKind:
        """What agents of this kind have in common."""
        return KINDS[self.agent]

    @property
    def gated(self) -> tuple[str, ...]:
        """The networks whose units carry gates."""
        return self.pruning.gated if self.kind.gated is None else self.kind.gated

    @property
    def pruner(self) -> str:
        """What moves the gates: theta, magnitude, random or none."""
        return self.kind.pruner
