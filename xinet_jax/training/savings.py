"""Decides when taking pruned units out of the arrays pays: the program must be compiled anew for the smaller sizes."""

import dataclasses
from typing import Any

from xinet_jax.errors import brief


@dataclasses.dataclass(frozen=True)
class Ledger:
    """Weighs the time lost on pruned units against the time a compilation takes.

    A compaction is due once as much time was lost since the last one as the next will cost, and at least as much is
    still to be won. So in hindsight all compactions together never cost more than what dead units did, and while units
    are falling fast the ledger waits for more of them.

    Attributes:
      compile_seconds: how long the last compilation took; None before the first.
      lost_seconds: predicted time spent on dead units since the last compaction.
      realised: ratio of what compactions save to what FLOPs alone predict, from 0.1 to 2; learnt from the last one.
    """

    compile_seconds: float | None = None
    lost_seconds: float = 0.0
    realised: float = 1.0

    def saving_per_step(self, flops_left: float, seconds_per_step: float, other_seconds: float) -> float:
        """Returns the predicted time that a compaction would save per step [seconds].

        Args:
          flops_left: ratio of the compacted networks' FLOPs to the present arrays'.
          seconds_per_step: time of one step now, update included.
          other_seconds: how much of it goes into physics and replay, which do not shrink.
        """
        return self.realised * (1.0 - flops_left) * max(seconds_per_step - other_seconds, 0.0)

    def is_due(self, saving_per_step: float, steps_left: int, last: bool = False) -> bool:
        """Returns whether to compact now. Nothing is gained by waiting if it is the `last`: no more units will fall."""
        if self.compile_seconds is None:
            return False
        waited = last or self.lost_seconds >= self.compile_seconds
        return waited and saving_per_step * steps_left > self.compile_seconds

    def accrue(self, steps: int, saving_per_step: float) -> "Ledger":
        """Returns the ledger after steps that were taken without a compaction."""
        return dataclasses.replace(self, lost_seconds=self.lost_seconds + steps * saving_per_step)

    def calibrate(self, predicted: float, before: float, after: float) -> "Ledger":
        """Returns the ledger after a compaction was measured.

        Args:
          predicted: saving per step that was predicted, by `saving_per_step` [seconds].
          before, after: measured seconds per step.
        """
        if predicted <= 0.0:
            return self
        realised = min(max(self.realised * (before - after) / predicted, 0.1), 2.0)
        return dataclasses.replace(self, realised=realised)

    def to_json(self) -> dict[str, float | None]:
        """Returns what it has learnt."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, figures: Any) -> "Ledger":
        """Returns the ledger that `to_json` described. Raises ValueError with a reason for anything else."""
        if not isinstance(figures, dict):
            raise ValueError(f"ledger must be a mapping, not {brief(figures, quoted=True)}")
        values = {}
        for field in dataclasses.fields(cls):
            value = figures.get(field.name)
            number = type(value) in (int, float) and 0.0 <= value <= 1e308
            if not number and not (value is None and field.default is None):
                raise ValueError(f"ledger's {field.name} must be a number, 0 or more, not {brief(value, quoted=True)}")
            values[field.name] = None if value is None else float(value)
        return cls(**values)
