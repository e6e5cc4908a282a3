"""Declarations of fields: the range of a field's values, and whether it may have several."""

import dataclasses
import math
from typing import Any, NamedTuple


class Range(NamedTuple):
    """A range of numbers.

    Attributes:
      words: the range as error messages describe it.
      least, most: its ends, where they belong to it.
      above, below: its ends, where they do not belong to it.
    """

    words: str
    least: float = -math.inf
    most: float = math.inf
    above: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        """Returns whether a number lies within the range."""
        above = self.above is None or value > self.above
        below = self.below is None or value < self.below
        return above and below and self.least <= value <= self.most


ABOVE_0_TO_1 = Range("above 0 and at most 1", above=0, most=1)
AT_LEAST_1 = Range("at least 1", least=1)
BETWEEN_0_AND_1 = Range("between 0 and 1", above=0, below=1)
FINITE = Range("finite", above=-math.inf, below=math.inf)
FRACTION = Range("from 0 to 1", least=0, most=1)
NOT_NEGATIVE = Range("0 or more", least=0, below=math.inf)
POSITIVE = Range("above 0 and finite", above=0, below=math.inf)
WIDTHS = Range("one or more widths, each at least 1", least=1)


def at_most(most: int) -> Range:
    """Returns the range up to a whole number."""
    return Range(f"at most {most}", most=most)


def ranged(default: Any, *ranges: Range) -> Any:
    """Declares a field whose value lies within each of some ranges. Of a list, every item does."""
    return dataclasses.field(default=default, metadata={"ranges": ranges})


def swept(default: float | None, *ranges: Range, axis: int) -> Any:
    """Declares a hyper-parameter that may have several values, all of them trained in one program.

    Args:
      default: its one value by default; None: it follows from others.
      ranges: what each of its values lies within.
      axis: its place among the nested loops over values that give the order of members; 0 is the outermost.
    """
    metadata = {"ranges": ranges, "axis": axis}
    return dataclasses.field(default=None if default is None else (default,), metadata=metadata)
