"""Writes the report of runs to a file."""

from collections.abc import Sequence
from pathlib import Path

from xinet_jax.atomic import replacing
from xinet_jax.report.page import page
from xinet_jax.report.record import RunRecord


def write_report(runs: Sequence[RunRecord], path: Path) -> None:
    """Writes the page about some runs. The file is replaced all at once. Raises OSError if that cannot be done."""
    text = page(runs)
    with replacing(path) as aside:
        aside.write_bytes(text.encode(errors="replace"))  # a name may hold bytes that are no text
