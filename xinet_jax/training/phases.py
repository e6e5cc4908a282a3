"""The host's plan of a run: its phases, cut into segments, and how fast each phase goes."""

from collections.abc import Iterator
from typing import NamedTuple

from xinet_jax.config import Config

PHASES = {"collect": "random steps", "pretrain": "OFENet alone", "train": "training"}

_SECONDS_PER_CHUNK = 1.0  # between two looks at the clock and at signals


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


def remaining(config: Config, phase: str, position: int) -> Iterator[Segment]:
    """Yields what is left of a run that has come to a position of a phase."""
    order = list(PHASES)
    for segment in segments(config):
        if order.index(segment.phase) > order.index(phase):
            yield segment
        elif segment.phase == phase and segment.last > position:
            yield segment._replace(first=max(segment.first, position))


class Pace:
    """Measures a phase's rate, and chooses how many iterations a chunk has so that it lasts about a second."""

    def __init__(self) -> None:
        self.compiled = False
        self.compile_seconds: float | None = None
        self.rate: float | None = None  # iterations per second, over the running segment or the one before
        self._iterations, self._seconds = 0, 0.0

    def start_segment(self) -> None:
        """Begins to measure anew."""
        self._iterations, self._seconds = 0, 0.0

    def chunk(self, most: int) -> int:
        """Returns the number of iterations to do next, `most` at most."""
        if not self.compiled:
            return 1
        return min(most, max(1, round((self.rate or 10.0) * _SECONDS_PER_CHUNK)))

    def took(self, iterations: int, seconds: float) -> None:
        """Takes note of the time that a chunk took."""
        if self.compiled:
            self._iterations, self._seconds = self._iterations + iterations, self._seconds + seconds
            self.rate = self._iterations / max(self._seconds, 1e-9)
        else:
            self.compile_seconds = seconds  # a phase's first chunk compiles it: its time says nothing about the rate
        self.compiled = True
