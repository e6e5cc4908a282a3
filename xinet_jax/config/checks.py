"""Checks of a configuration: types, names, ranges, what fits together, and what has an effect.

All of them raise UserError, which names the field, what was given and what is allowed.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from xinet_jax.config.fields import SWEPT, field_names, field_types, fields, to_flat, value_text, varied
from xinet_jax.config.kinds import KINDS, AgentKind
from xinet_jax.config.names import (
    COMPACT,
    COSTS,
    ESTIMATORS,
    LOGS,
    NETWORKS,
    ORDERS,
    PRECISIONS,
    PRESETS,
    PRICES,
    WEIGHTS_SEE,
)
from xinet_jax.config.presets import preset_config
from xinet_jax.config.rounds import round_of
from xinet_jax.config.schema import Config, PruningConfig
from xinet_jax.config.task_options import options_of_task
from xinet_jax.errors import UserError, brief, unknown_name
from xinet_jax.tasks.names import BRAX_BACKENDS, ENGINES
from xinet_jax.tasks.registry import check_name, check_physics, checked_options
from xinet_jax.type_hints import has_type, type_in_words

# What may differ between a run and its resumption: nothing that was learnt depends on it.
CHANGEABLE = ("steps", "log", "log_every", "eval_every", "eval_episodes", "final_episodes")
CHANGEABLE += ("checkpoint_every", "checkpoint_keep", "report", "devices", "distributed", "resume")

# Names that fields take. Those of task depend on what is registered; the registry checks physics and mjx_impl.
_NAMES = {
    "preset": PRESETS,
    "agent": KINDS,
    "engine": ENGINES,
    "brax_backend": BRAX_BACKENDS,
    "precision": PRECISIONS,
    "cost": COSTS,
    "price": PRICES,
    "order": ORDERS,
    "estimator": ESTIMATORS,
    "weights_see": WEIGHTS_SEE,
    "compact": COMPACT,
}
_PATHS = ("out", "widths_from", "resume", "branch_from")
_TOO_LARGE_INTEGER, _TOO_LARGE_FLOAT = 2**31, 3e38  # for int32 and float32
_MOST_MEMBERS = 2**16


def check(config: Config) -> None:
    """Checks every field's type, name and range, and that fields fit together.

    Raises:
      UserError: names the field, what was given and what is allowed.
    """
    flat = to_flat(config)
    for check_fields in (_check_types, _check_names, _check_sizes, _check_paths, _check_ranges):
        check_fields(flat)
    for check_section in (_check_task, _check_sweep, _check_run, _check_pruning, _check_networks, _check_sac):
        check_section(config)
    _check_effects(config)


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
                f"{name} is {_value_in_words(theirs[name])} in the run and cannot be changed to "
                f"{_value_in_words(value)} when it is resumed: only {', '.join(CHANGEABLE[:-1])} can"
            )


# Checks of each field alone. They take the values of all fields by name.


def _check_types(flat: dict[str, Any]) -> None:
    for name, hint in field_types().items():
        if not has_type(flat[name], hint):
            raise UserError(f"{name} must be {type_in_words(hint)}, not {brief(flat[name], quoted=True)}")


def _check_names(flat: dict[str, Any]) -> None:
    check_name(flat["task"])
    for name, allowed in _NAMES.items():
        if flat[name] is not None and flat[name] not in tuple(allowed):
            raise unknown_name(name, flat[name], allowed)
    for field, noun, allowed in (("gated", "gated network", NETWORKS), ("log", "log", LOGS)):
        names = flat[field]
        for name in names:
            if name not in allowed:
                raise unknown_name(noun, name, allowed)
        _require(len(set(names)) == len(names), field, names, "a list of different names")
    _require(flat["log"], "log", (), f"one or more of {', '.join(LOGS)}")


def _check_sizes(flat: dict[str, Any]) -> None:
    """Refuses finite numbers that are too large for int32 or float32."""
    for name, value in flat.items():
        for item in _items(value):
            if isinstance(item, int) or (isinstance(item, float) and not math.isinf(item)):
                too_large = _TOO_LARGE_INTEGER if isinstance(item, int) else _TOO_LARGE_FLOAT
                _require(abs(item) < too_large, name, item, "a smaller number")


def _check_paths(flat: dict[str, Any]) -> None:
    for name in _PATHS:
        _require(flat[name] is None or flat[name].strip(), name, repr(flat[name]), "a path")


def _check_ranges(flat: dict[str, Any]) -> None:
    """Refuses numbers outside the ranges that their fields declare, and lists of numbers that are empty or repeat."""
    for name, field in fields().items():
        value, items = flat[name], _items(flat[name])
        if value is None:
            continue
        for allowed in field.metadata.get("ranges", ()):
            _require(items, name, value, "one number or more" if name in SWEPT else allowed.words)
            _require(all(map(allowed.holds, items)), name, value, allowed.words)
        if name in SWEPT:
            distinct = len(set(map(value_text, items))) == len(items)
            _require(distinct, name, value, "a list of different numbers, to six digits")


# Checks of fields that have to fit together, section by section.


def _check_task(config: Config) -> None:
    if config.brax_backend is not None:
        _require(config.task.startswith("brax/"), "brax_backend", config.brax_backend, "for one of Brax's tasks")
    checked_options(config.task, options_of_task(config))
    check_physics(config.task, config.engine, config.mjx_impl, config.physics)


def _check_sweep(config: Config) -> None:
    """Refuses several values of what makes no difference to the agent, and too many members."""
    for name in varied(config):
        network = name.removeprefix("nu_scale_")
        if config.pruner != "theta" and field_names()[name] == "pruning":
            kinds = _kinds_where(lambda kind: kind.pruner == "theta")
            raise UserError(f"several values of {name} are for agent {kinds}: agent {config.agent} has no price")
        if network in NETWORKS and network not in config.gated:
            raise UserError(f"several values of {name} make no difference: {network} is not gated")
    flat = to_flat(config)
    members = config.seeds * math.prod(len(flat[name]) for name in varied(config))
    allowed = f"at most {_MOST_MEMBERS} for all combinations of values together"
    _require(members <= _MOST_MEMBERS, "seeds", config.seeds, allowed)


def _check_run(config: Config) -> None:
    _require(config.first_seed + config.seeds <= 2**31, "first_seed", config.first_seed, "below 2**31, with all seeds")
    round_of(config)
    allowed = f"at least 1 and below steps ({config.steps})"
    _require(1 <= config.random_steps < config.steps, "random_steps", config.random_steps, allowed)


def _check_networks(config: Config) -> None:
    widths_from = config.networks.widths_from
    if config.kind.needs_widths and widths_from is None:
        raise UserError(f"agent {config.agent} needs widths_from: the run or policy folder whose widths to take")
    if not config.kind.needs_widths and (widths_from is not None or config.networks.uniform_widths):
        name = "uniform_widths" if widths_from is None else "widths_from"
        kinds = _kinds_where(lambda kind: kind.needs_widths)
        raise UserError(f"{name} is for agent {kinds}, not for {config.agent}")


def _check_sac(config: Config) -> None:
    decay = max(config.sac.learning_rate) * max(config.sac.weight_decay)
    _require(decay <= 1, "weight_decay", config.sac.weight_decay, "at most 1 / learning_rate")
    capacity, batch_size = config.sac.replay_capacity, config.sac.batch_size
    _require(capacity >= batch_size, "replay_capacity", capacity, f"at least batch_size ({batch_size})")


def _check_pruning(config: Config) -> None:
    rules = config.pruning
    if config.pruner == "theta" and rules.estimator == "fisher":
        _require(rules.weights_see == "open", "weights_see", rules.weights_see, "open with estimator fisher")
    if config.pruner == "theta" and rules.order != "worth":
        # Of samples with few gates closed, the order would be that of the noise.
        _require(rules.estimator == "fisher", "estimator", rules.estimator, f"fisher with order {rules.order}")
    if config.pruner == "theta" and rules.price == "found":
        _check_found_price(config)
    if rules.keep_share and "keep_share" not in config.kind.reads:
        kinds = _kinds_where(lambda kind: "keep_share" in kind.reads)
        raise UserError(f"keep_share is for agent {kinds}, not for {config.agent}")
    if config.pruner != "none":
        _require(rules.gated, "gated", (), "one network or more (--agent ofenet has no gates)")
        _check_actor_waits(config)
        for network in rules.gated:
            _check_start(config, network)
            if config.pruner == "theta":
                _check_schedule_of_theta(config, network)
    if config.kind.scheduled:
        _check_schedule_of_baseline(config)


def _check_found_price(config: Config) -> None:
    """Refuses a schedule that a price cannot follow."""
    rules = config.pruning
    _require(rules.keep_share, "keep_share", rules.keep_share, "above 0 with price found")
    _require(rules.prune_ramp, "prune_ramp", rules.prune_ramp, "above 0 with price found")
    allowed = f"at least random_steps ({config.random_steps}) with price found, or much falls due at once"
    _require(rules.prune_start >= config.random_steps, "prune_start", rules.prune_start, allowed)
    for network in rules.gated:  # otherwise the first to start would lose what all should
        name = _name_of_start(rules, network)
        _require(rules.start(network) == rules.prune_start, name, rules.start(network), "left out with price found")
        scale = f"nu_scale_{network}"
        _require(min(getattr(rules, scale)) > 0, scale, getattr(rules, scale), "above 0 with price found")
    rates = rules.theta_learning_rate
    _require(min(rates) > 0, "theta_learning_rate", rates, "above 0 with price found")
    end = rules.prune_start + rules.prune_ramp
    allowed = f"at least {end} with price found, where its schedule ends"
    _require(rules.prune_stop is not None and rules.prune_stop >= end, "prune_stop", rules.prune_stop, allowed)
    _require(len(rules.nu) == 1, "nu", rules.nu, "left out with price found")


def _check_actor_waits(config: Config) -> None:
    """Refuses a wait that does not end before units are pruned again."""
    rules = config.pruning
    at_once = config.kind.scheduled and rules.prune_ramp == 0
    allowed = f"below prune_every ({rules.prune_every}), or the actor does not learn while units are pruned"
    _require(at_once or rules.actor_waits < rules.prune_every, "actor_waits", rules.actor_waits, allowed)


def _check_start(config: Config, network: str) -> None:
    start = config.pruning.start(network)
    allowed = f"below steps ({config.steps}), or nothing is pruned"
    _require(start < config.steps, _name_of_start(config.pruning, network), start, allowed)


def _check_schedule_of_theta(config: Config, network: str) -> None:
    """Refuses a schedule that prunes nothing of a gated network.

    With one environment and one update per step, update `u` is taken after environment step `random_steps + 1 + u`.
    Theta moves at every `theta_every`-th update from the network's start to `prune_stop`, units are pruned at every
    `prune_every`-th, and at `prune_stop` all gates are rounded. The price is 0 at the start itself if it rises by a
    ramp.
    """
    rules, cycle = config.pruning, round_of(config)
    first = config.random_steps + cycle.steps
    start, stop, last = rules.start(network), rules.prune_stop, config.steps
    if stop is not None:
        allowed = f"below prune_stop ({stop}), or nothing is pruned"
        _require(start < stop, _name_of_start(rules, network), start, allowed)
        _require(stop >= first, "prune_stop", stop, f"above random_steps ({config.random_steps}), or nothing is pruned")
        last = min(stop, config.steps)

    def next_update(step: int, every: int) -> int:
        period = -(-every // cycle.updates) * cycle.steps
        return first + -(-(step - first) // period) * period

    moved = next_update(max(start + (rules.prune_ramp > 0), first), rules.theta_every)
    allowed = f"small enough for theta to move at a price between environment steps {max(start, first)} and {last}"
    _require(moved <= last, "theta_every", rules.theta_every, allowed)
    if stop is None or stop > config.steps:
        pruned = next_update(moved, rules.prune_every)
        allowed = f"small enough for units to be pruned between environment steps {moved} and {last}"
        _require(pruned <= last, "prune_every", rules.prune_every, allowed)


def _check_schedule_of_baseline(config: Config) -> None:
    """Refuses a schedule that does not come to its end."""
    rules = config.pruning
    if (rules.prune_start_actor, rules.prune_start_critic) != (None, None):
        kinds = _kinds_where(lambda kind: "prune_start_actor" in kind.reads)
        raise UserError(f"prune_start_actor and prune_start_critic are for agent {kinds}, not for {config.agent}")
    cycle = round_of(config)
    end = rules.prune_start + rules.prune_ramp + -(-rules.prune_every // cycle.updates) * cycle.steps
    _require(end <= config.steps, "steps", config.steps, f"at least {end}, or the schedule does not end")


def _name_of_start(rules: PruningConfig, network: str) -> str:
    """Returns the field that says when the pruning of a network starts."""
    name = f"prune_start_{network}"
    return "prune_start" if getattr(rules, name, None) is None else name


# Checks that settings have an effect.


def _check_effects(config: Config) -> None:
    """Refuses a setting other than the preset's that changes nothing."""
    flat, preset = to_flat(config), to_flat(preset_config(config.task, config.preset, config.agent))
    for name, why in _without_effect(config):
        if flat[name] != preset[name]:
            raise UserError(f"{name} has no effect {why}: leave it out, rather than {_value_in_words(flat[name])}")


def _without_effect(config: Config) -> Iterator[tuple[str, str]]:
    """Yields the settings that change nothing with the others as they are, and why."""
    for name, section in field_names().items():
        if section == "pruning" and name not in config.kind.reads:
            yield name, f"for agent {config.agent}"
    if not config.kind.extractor:
        for name in ("blocks", "block_units", "pretrain_updates"):
            yield name, f"for agent {config.agent}, which has no OFENet"
    if config.pruning.compact != "auto":
        yield "width_multiple", f"with compact {config.pruning.compact}"
    if config.pruner == "theta":
        yield from _without_effect_on_theta(config)


def _without_effect_on_theta(config: Config) -> Iterator[tuple[str, str]]:
    rules = config.pruning
    if rules.price == "found":
        if config.branch_from is None:  # a branch inherits it
            yield "nu", "with price found"
        if len(rules.gated) == 1:
            yield f"nu_scale_{rules.gated[0]}", f"with price found, where only {rules.gated[0]} is gated"
    for network in NETWORKS:
        if network not in rules.gated:
            yield f"nu_scale_{network}", f"where {network} is not gated"
            yield "actor_speaks" if network == "ofenet" else f"prune_start_{network}", f"where {network} is not gated"
    if "prune_start" not in [_name_of_start(rules, network) for network in rules.gated]:
        yield "prune_start", "where every gated network has a start of its own"
    if rules.weights_see == "open":  # probabilities are leave_out, and never less
        yield "estimator_floor", "with weights_see open"
    else:
        yield "leave_out", f"with weights_see {rules.weights_see}"
    if rules.estimator == "fisher":
        yield "leave_out", "for estimator fisher"
    if rules.estimator == "straight_through":
        yield "estimator_floor", "for estimator straight_through"


# Words of messages.


def _require(holds: Any, name: str, value: Any, allowed: str) -> None:
    if not holds:
        raise UserError(f"{name} must be {allowed}, not {_value_in_words(value)}")


def _kinds_where(holds: Callable[[AgentKind], bool]) -> str:
    return " or ".join(name for name, kind in KINDS.items() if holds(kind))


def _items(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _value_in_words(value: Any) -> str:
    return brief(" ".join(map(brief, value)) or "empty" if isinstance(value, tuple) else value)
