"""Metrics as JSON lines."""

import contextlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any


class JsonLines:
    """Appends one JSON object per line, each written at once. Numbers that are not finite become null.

    What cannot be written, on a full disk, waits until it can.

    Args:
      path: the file.
      keep: length up to which an older file is kept; None: all of it but a last line that is not complete [bytes].
      tell: prints one line.
    """

    def __init__(self, path: Path, keep: int | None = None, tell: Callable[[str], None] = print):
        self._path, self._tell, self._waiting = path, tell, b""
        content = path.read_bytes()[:keep] if path.exists() else b""
        self._size = content.rfind(b"\n") + 1
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        self._file.truncate(self._size)

    @property
    def size(self) -> int:
        """Length of the file, with what waits to be written [bytes]."""
        return self._size + len(self._waiting)

    def write(self, record: dict[str, Any]) -> None:
        """Writes one record."""
        troubled = bool(self._waiting)
        self._waiting += json.dumps(finite(record), allow_nan=False).encode() + b"\n"
        error = self._write_waiting()
        if error and not troubled:
            self._tell(f"cannot write metrics to {self._path}: {error.strerror}; they wait until it can be done")
        elif troubled and not error:
            self._tell("metrics are written again")

    def _write_waiting(self) -> OSError | None:
        try:
            self._file.seek(self._size)
            written = self._file.write(self._waiting)
            if written < len(self._waiting):
                raise OSError(28, "No space left on device")
            self._size, self._waiting = self._size + written, b""
        except OSError as error:
            return error
        return None

    def close(self) -> None:
        """Closes the file, without half a line at its end."""
        if not self._file.closed:
            self._write_waiting()
            self._file.truncate(self._size)
            self._file.close()


def read_json_lines(path: Path) -> Iterator[Any]:
    """Yields the objects of a file, one after the other, without lines that are not complete."""
    with path.open("rb") as file:
        yield from parse_json_lines(file)


def parse_json_lines(lines: Iterable[bytes]) -> Iterator[Any]:
    """Yields the objects in JSON lines, without lines that are not complete: of a process that was killed."""
    for line in lines:
        with contextlib.suppress(json.JSONDecodeError, UnicodeDecodeError):
            yield json.loads(line)


def lines_from_end(path: Path, block: int = 2**16) -> Iterator[bytes]:
    """Yields the lines of a file, the last one first. A last line that is not complete is left out.

    Args:
      path: the file. Of a large one only the end is read, as far as lines are asked for.
      block: how much is read at once [bytes].
    """
    with path.open("rb") as file:
        place, rest, complete = file.seek(0, 2), b"", False
        while place > 0:
            size = min(block, place)
            place -= size
            file.seek(place)
            rest, *lines = (file.read(size) + rest).split(b"\n")
            for line in reversed(lines):
                if complete:
                    yield line
                complete = True
        if complete:
            yield rest


def number(value: Any) -> float:
    """Returns a number that was read; NaN for null, which `finite` writes for what is not finite."""
    return math.nan if value is None else float(value)


def finite(value: Any) -> Any:
    """Returns the value with null in place of every number that is not finite: JSON has no other name for them."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
