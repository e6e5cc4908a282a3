"""Decides when taking pruned units out of the arrays pays: the program must be compiled anew for the smaller sizes."""


class Ledger:
    """Weighs the time lost on pruned units against the time a compilation takes.

    A compaction is due once as much time was lost since the last one as the next will cost, and at least as much is
    still to be won. So in hindsight all compactions together never cost more than what dead units did, and while units
    are falling fast the ledger waits for more of them.

    Attributes:
      compile_seconds: how long the last compilation took; None before the first.
      lost_seconds: predicted time spent on dead units since the last compaction.
      realised: what compactions save as a share of what FLOPs alone predict, from 0.1 to 2; learnt from the last one.
    """

    def __init__(self) -> None:
        self.compile_seconds: float | None = None
        self.lost_seconds = 0.0
        self.realised = 1.0

    def saving_per_step(self, flops_left: float, seconds_per_step: float, other_seconds: float) -> float:
        """Returns the predicted time that a compaction would save per step [seconds].

        Args:
          flops_left: FLOPs of the compacted networks as a share of the present arrays'.
          seconds_per_step: time of one step now, update included.
          other_seconds: how much of it goes into physics and replay, which do not shrink.
        """
        return self.realised * (1.0 - flops_left) * max(seconds_per_step - other_seconds, 0.0)

    def note(self, steps: int, saving_per_step: float) -> None:
        """Notes steps that were taken without a compaction."""
        self.lost_seconds += steps * saving_per_step

    def is_due(self, saving_per_step: float, steps_left: int, last: bool = False) -> bool:
        """Returns whether to compact now. Nothing is gained by waiting if it is the `last`: no more units will fall."""
        if self.compile_seconds is None:
            return False
        waited = last or self.lost_seconds >= self.compile_seconds
        return waited and saving_per_step * steps_left > self.compile_seconds

    def settle(self, predicted: float, before: float, after: float) -> None:
        """Notes how a compaction turned out.

        Args:
          predicted: saving per step that was predicted, by `saving_per_step` [seconds].
          before, after: measured seconds per step.
        """
        if predicted > 0.0:
            self.realised = min(max(self.realised * (before - after) / predicted, 0.1), 2.0)

    def as_json(self) -> dict[str, float | None]:
        """Returns what it has learnt."""
        names = ("compile_seconds", "lost_seconds", "realised")
        return {name: getattr(self, name) for name in names}

    def take(self, learnt: dict[str, float | None]) -> None:
        """Takes over what `as_json` returned. Raises KeyError, TypeError or ValueError if it is something else."""
        seconds = learnt["compile_seconds"]
        self.compile_seconds = None if seconds is None else float(seconds)
        self.lost_seconds, self.realised = float(learnt["lost_seconds"]), float(learnt["realised"])
