"""Metrics as JSON lines."""

import json
import math
from pathlib import Path
from typing import Any


class JsonLines:
    """Appends one JSON object per line, each written at once. Numbers that are not finite become null."""

    def __init__(self, path: Path):
        self._file = path.open("a", buffering=1)

    def write(self, record: dict[str, Any]) -> None:
        """Writes one record."""
        self._file.write(json.dumps(finite(record)) + "\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def finite(value: Any) -> Any:
    """Returns the value with null in place of every number that is not finite: JSON has no other name for them."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
