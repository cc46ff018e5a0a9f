"""Whether a token is inside the top-k or the top-p, by bounds of what was not computed."""

from dataclasses import dataclass, field

__all__ = ["InsideQuestion"]


@dataclass
class InsideQuestion:
    """Whether what weighs more than a row's token comes to less than a limit: top-k's number, or top-p's share of all.

    Attributes:
        above_head: What of the head weighs more.
        head: The weight of the head; 0 for top-k.
        above_most: Upper bounds of what in each tail weighs more.
        upper: Upper bounds of each tail's weight.
        lower: Lower bounds of it.
        above_least: Lower bounds of what in each tail weighs more.
        computed: What weighs more, and the weight, of tails that were computed, asked for or not.
        inside: The answer.
    """

    above_head: float
    head: float
    above_most: list[float]
    upper: list[float]
    lower: list[float]
    above_least: list[float] = field(init=False)
    computed: dict[int, tuple[float, float]] = field(default_factory=dict)
    inside: bool = False

    def __post_init__(self) -> None:
        self.above_least = [0.0] * len(self.upper)

    def open_tail(self, top_k: int, top_p: float) -> int | None:
        """The tail that has to be computed next, which leaves most open; None when there is an answer."""
        for _ in range(len(self.upper) + 1):  # but for numbers that are none, one has to be the last
            low: float = top_k or top_p * (self.head + sum(self.lower))
            high: float = top_k or top_p * (self.head + sum(self.upper))
            self.inside = self.above_head + sum(self.above_most) < low
            if self.inside or self.above_head + sum(self.above_least) >= high:
                return None
            bounds = zip(self.above_most, self.above_least, self.upper, self.lower, strict=True)
            gaps = [most - least + (0.0 if top_k else upper - lower) for most, least, upper, lower in bounds]
            tail = gaps.index(max(gaps))
            if tail not in self.computed:
                return tail
            self.above_most[tail] = self.above_least[tail] = self.computed[tail][0]
            self.upper[tail] = self.lower[tail] = self.computed[tail][1]
        return None
