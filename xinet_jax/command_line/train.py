"""`xinet train`: trains, prunes, saves and evaluates agents."""

import signal

from rich.markup import escape

from xinet_jax.command_line.console import console
from xinet_jax.command_line.parsing import train_config
from xinet_jax.command_line.start import keep_compiled_programs, load_libraries
from xinet_jax.config import varied
from xinet_jax.training.run_folder import POLICY_FOLDER, REPORT_FILE, TRADE_OFF_FIGURE, TRADE_OFF_TABLE


def run(arguments: list[str]) -> int:
    """Runs the command with its arguments, and returns its exit code."""
    config = train_config(arguments)
    load_libraries()
    keep_compiled_programs()
    import jax
    import numpy as np

    from xinet_jax.policy.tables import layers_table, returns_table
    from xinet_jax.training import run as runner
    from xinet_jax.training.members import identities
    from xinet_jax.training.results import trade_off
    from xinet_jax.training.trade_off import trade_off_table

    result = runner.train(config)
    lost = len(result.seeds) < len(identities(result.config))
    status = 128 + signal.Signals[result.interrupted] if result.interrupted else int(lost)
    if jax.process_index() > 0:
        return status  # the first process speaks for all
    out = console()
    rows = [
        (member.structure, member.curve[-1][1] if member.curve else np.nan, member.returns, member.trouble)
        for member in result.seeds
    ]
    out.print(returns_table(rows))
    names = varied(config)
    if names:
        out.print(trade_off_table(trade_off(result)))
        file = result.folder / (TRADE_OFF_FIGURE if "nu" in names else TRADE_OFF_TABLE)
        out.print(f"Trade-off curve: {escape(str(file))}", highlight=False, soft_wrap=True)
    else:
        out.print(layers_table([seed.structure for seed in result.seeds]))
    out.print(f"Policies: {escape(str(result.folder / POLICY_FOLDER))}", highlight=False, soft_wrap=True)
    if config.report and (result.folder / REPORT_FILE).exists():
        out.print(f"Report: {escape(str(result.folder / REPORT_FILE))}", highlight=False, soft_wrap=True)
    return status
