"""Metrics as a data frame of pandas or polars, whichever is there."""

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from xinet_jax.errors import UserError, unknown_name
from xinet_jax.packages import is_installed

LIBRARIES = ("pandas", "polars")


def data_frame(records: Iterable[Mapping[str, Any]], library: str | None = None) -> Any:
    """Returns metrics as a data frame: a row for each record, in their order, and a column for each of their entries.

    Args:
      records: of a run, as `metrics.jsonl` has them. A layer's `units` become a column `units/NETWORK/LAYER`.
      library: pandas or polars; None: the first of them that is installed.

    Raises:
      UserError: if the library is not installed, or is neither of them.
    """
    if library not in (None, *LIBRARIES):
        raise unknown_name("library", library, LIBRARIES)
    installed = [name for name in LIBRARIES if library in (None, name) and is_installed(name)]
    if not installed:
        raise UserError(_MISSING.get(library, "a data frame needs pandas or polars: pip install 'xinet_jax[pandas]'"))
    rows = [_row(record) for record in records]
    if installed[0] == "pandas":
        return importlib.import_module("pandas").DataFrame(rows)
    return importlib.import_module("polars").DataFrame(rows, infer_schema_length=None)


_MISSING = {
    "pandas": "library pandas needs the extra 'pandas': pip install 'xinet_jax[pandas]'",
    "polars": "library polars is not installed: pip install polars",
}


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    units = {f"units/{layer}": count for layer, count in record.get("units", {}).items()}
    return {name: value for name, value in record.items() if name != "units"} | units
