"""Reads the options of a command. Mistakes are told in one line, with the nearest option."""

import argparse
import contextlib
import dataclasses
import functools
import io
import re
from pathlib import Path
from typing import Any

import tyro

from xinet_jax.command_line.options import TrainArguments
from xinet_jax.config import Config, check, field_types, load_config, preset_config
from xinet_jax.errors import UserError, brief, nearest
from xinet_jax.telemetry.sinks import chosen_sinks
from xinet_jax.training.branch_config import branch_defaults, check_branch
from xinet_jax.training.run_folder import CONFIG_FILE


def train_config(arguments: list[str]) -> Config:
    """Returns the configuration that the arguments of `xinet train` describe. Raises UserError for mistakes."""
    if not {"-h", "--help"} & set(arguments):
        _refuse_repetition(arguments, TrainArguments)
    chosen, _ = _preset_parser().parse_known_args(arguments)
    if chosen.resume is not None and chosen.branch_from is not None:
        raise UserError("--from starts a new run, --resume goes on with an old one: choose one")
    if chosen.resume is not None:
        defaults = dataclasses.replace(load_config(Path(chosen.resume) / CONFIG_FILE), resume=chosen.resume)
    elif chosen.branch_from is not None:
        defaults = branch_defaults(chosen.branch_from, chosen.agent)
    else:
        names = {"task": Config.task, "preset": Config.preset, "agent": Config.agent}
        defaults = preset_config(**{name: getattr(chosen, name) or default for name, default in names.items()})
    parsed = parse(TrainArguments, arguments, "xinet train", TrainArguments(**vars(defaults)))
    config = Config(**{field.name: getattr(parsed, field.name) for field in dataclasses.fields(Config)})
    if chosen.branch_from is not None:
        check_branch(config, load_config(Path(chosen.branch_from) / CONFIG_FILE))
    check(config)
    chosen_sinks(config.log)
    return config


def _preset_parser() -> argparse.ArgumentParser:
    """Returns a parser for the fields on which all other defaults depend."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for field in dataclasses.fields(Config):
        if field.name in ("task", "preset", "agent"):
            parser.add_argument(f"--{field.name}", nargs="?")
    parser.add_argument("--resume", nargs="?")
    parser.add_argument("--from", dest="branch_from", nargs="?")
    return parser


def parse(kind: type, arguments: list[str], program: str, default: object = None) -> Any:
    """Parses a command's options. tyro explains them; its errors are told again in one line."""
    options = {} if default is None else {"default": default}
    parse = functools.partial(tyro.cli, kind, prog=program, config=(tyro.conf.OmitArgPrefixes,), **options)
    if {"-h", "--help"} & set(arguments):
        return parse(args=["--help"])
    _refuse_repetition(arguments, kind)
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            return parse(args=arguments)
    except SystemExit:
        raise UserError(_one_line(output.getvalue(), arguments, kind)) from None


def _refuse_repetition(arguments: list[str], kind: type) -> None:
    """Raises UserError for an option that is there twice, of which the last alone would count."""
    types = _option_types(kind)
    options: dict[str, str] = {}
    values: dict[str, list[str]] = {}
    repeated = name = None
    for argument in arguments:
        option, _, value = argument.partition("=")
        if option.startswith("--"):
            name = option.removeprefix("--").replace("-", "_")
            name = name if name in types else name.removeprefix("no_")
            repeated = repeated or (name if name in types and name in options else None)
            if repeated == name and types[name] is bool and options[name] != option:
                raise UserError(f"options {options[name]} and {option} exclude each other: choose one")
            options[name] = option
            values.setdefault(name, []).extend([value] if value else [])
        elif name:
            values[name].append(argument)
    if repeated and "tuple" in str(types[repeated]):
        several = brief(" ".join([options[repeated], *values[repeated]]))
        raise UserError(f"option {options[repeated]} is repeated: give it once, with all values: {several}")
    if repeated:
        raise UserError(f"option {options[repeated]} is repeated: give it once")


def _one_line(output: str, arguments: list[str], kind: type) -> str:
    """Returns what tyro said as one line, with the nearest option for an unknown one.

    tyro says it in sections between rules: a title, the message, help.
    """
    sections = [" ".join(section.split()) for section in re.split(r"(?m)^ *-+ *$", output)]
    message = sections[1] if len(sections) > 1 else " ".join(output.split())
    if not message.startswith("Unrecognized options"):
        return f"{message.rstrip('.')}. See --help"
    names = _option_names(kind)
    options = [argument.split("=")[0] for argument in arguments if argument.startswith("-")]
    for option in options:
        match = nearest(option.lstrip("-").replace("-", "_"), names)
        if option.lstrip("-").replace("-", "_") not in names:
            hint = f"did you mean --{match.replace('_', '-')}? " if match else ""
            return f"unknown option {option}: {hint}See --help"
    return f"{message}. See --help"


def _option_names(kind: type) -> set[str]:
    names = _option_types(kind)
    return {*names, *(f"no_{name}" for name in names), "help", "h"}


def _option_types(kind: type) -> dict[str, Any]:
    if kind is not TrainArguments:
        return {field.name: field.type for field in dataclasses.fields(kind)}
    return {"from" if name == "branch_from" else name: hint for name, hint in field_types().items()}
