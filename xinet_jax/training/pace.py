"""How fast a run goes: the rate of each phase, and how long programs take to compile."""

_SECONDS_PER_CHUNK = 1.0  # between two looks at the clock and at signals


class Pace:
    """Measures a phase's rate, and chooses how many iterations a chunk has so that it lasts about a second.

    Args:
      unit: a chunk is a multiple of this [iterations].

    Attributes:
      compiled: whether the phase's program is compiled.
      compile_seconds: how long its first chunk took, which compiles it; None before that.
      rate: iterations per second, over the running segment or the one before; None before the second chunk.
    """

    def __init__(self, unit: int = 1) -> None:
        self._unit = unit
        self.compiled = False
        self.compile_seconds: float | None = None
        self.rate: float | None = None
        self._iterations, self._seconds = 0, 0.0

    def start_segment(self) -> None:
        """Begins to measure anew."""
        self._iterations, self._seconds = 0, 0.0

    def chunk(self, most: int) -> int:
        """Returns the number of iterations to do next, `most` at most, a multiple of the unit itself."""
        if not self.compiled:
            return self._unit
        rate = (self.rate or 10.0 * self._unit) / self._unit
        return min(most, max(1, round(rate * _SECONDS_PER_CHUNK)) * self._unit)

    def record(self, iterations: int, seconds: float) -> None:
        """Takes note of the time that a chunk took."""
        if self.compiled:
            self._iterations, self._seconds = self._iterations + iterations, self._seconds + seconds
            self.rate = self._iterations / max(self._seconds, 1e-9)
        else:
            self.compile_seconds = seconds  # a phase's first chunk compiles it: its time says nothing about the rate
        self.compiled = True


class EvaluationPace:
    """Measures how long the evaluation takes to compile: what a program's first takes longer than its second.

    Attributes:
      compile_seconds: of the newest program that was called twice; 0 before there is one.
    """

    def __init__(self) -> None:
        self.compile_seconds = 0.0
        self._seconds: list[float] = []  # of each evaluation by the present program

    @property
    def compiled(self) -> bool:
        """Whether the present program is compiled."""
        return bool(self._seconds)

    def restart(self) -> None:
        """Notes that there is another program now."""
        self._seconds = []

    def record(self, seconds: float) -> None:
        """Takes note of the time that an evaluation took."""
        self._seconds.append(seconds)
        if len(self._seconds) == 2:
            self.compile_seconds = max(self._seconds[0] - self._seconds[1], 0.0)
