"""The phases of a run, cut into segments, and the position that a run has come to."""

from collections.abc import Iterator
from typing import NamedTuple

from xinet_jax.config import Config

PHASES = {"collect": "random steps", "pretrain": "OFENet alone", "train": "training"}


class Position(NamedTuple):
    """Where a run stands.

    Attributes:
      phase: one of `PHASES`.
      iteration: what the phase has come to: environment steps, or of OFENet alone its updates.
    """

    phase: str
    iteration: int

    def environment_steps(self, random_steps: int) -> int:
        """Returns the environment steps that were taken, by the number of random steps before the updates."""
        return random_steps if self.phase == "pretrain" else self.iteration


class Segment(NamedTuple):
    """A stretch of one phase, `first` to `last`, after which metrics are written and perhaps an evaluation is due."""

    phase: str
    first: int
    last: int
    evaluate: bool


def segments(config: Config) -> Iterator[Segment]:
    """Yields the segments of a run, in order."""

    def cut(phase: str, first: int, last: int, evaluated: bool) -> Iterator[Segment]:
        while first < last:
            every = [config.log_every]
            every += [config.eval_every, config.checkpoint_every] if evaluated else []
            end = min(last, *((first // n + 1) * n for n in every))
            if evaluated and config.pruner == "theta" and first < (config.pruning.prune_stop or 0) < end:
                end = config.pruning.prune_stop
            yield Segment(phase, first, end, evaluated and (end % config.eval_every == 0 or end == last))
            first = end

    yield from cut("collect", 0, config.random_steps, False)
    if config.kind.extractor:
        yield from cut("pretrain", 0, config.pretrain_updates, False)
    yield from cut("train", config.random_steps, config.steps, True)


def remaining(config: Config, position: Position) -> Iterator[Segment]:
    """Yields what is left of a run that has come to a position."""
    order = list(PHASES)
    for segment in segments(config):
        if order.index(segment.phase) > order.index(position.phase):
            yield segment
        elif segment.phase == position.phase and segment.last > position.iteration:
            yield segment._replace(first=max(segment.first, position.iteration))
