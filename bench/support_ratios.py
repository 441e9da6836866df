"""Interleaved rounds, medians, and ratios within a round, which cancel the machine's drift."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.support_machine import median, say, table

Figures = Mapping[str, float]  # what one run of one cell found: `rate` and others
Rounds = Mapping[str, Sequence[Figures]]


@dataclass(frozen=True, slots=True)
class Bar:
    """A ratio of two cells' figures, and what it must be; `most` where smaller is better."""

    what: str
    over: str
    under: str
    figure: str = "rate"
    least: float | None = None
    most: float | None = None

    @property
    def demand(self) -> str:
        """The bar in a word; empty for a ratio that is only shown."""
        if self.least is not None:
            return f"≥ {self.least:g}"
        return f"≤ {self.most:g}" if self.most is not None else ""

    def is_met(self, value: float) -> bool:
        """Whether this ratio is good enough."""
        return not (
            (self.least is not None and value < self.least) or (self.most is not None and value > self.most)
        )


def interleave(cells: Mapping[str, Callable[[], Figures]], rounds: int) -> dict[str, list[Figures]]:
    """Run every cell once in each round, starting each round one cell further on."""
    found: dict[str, list[Figures]] = {name: [] for name in cells}
    names = list(cells)
    for number in range(rounds):
        turn = number % max(len(names), 1)
        for name in names[turn:] + names[:turn]:
            figures = cells[name]()
            found[name].append(figures)
            shown = ", ".join(f"{key} {value:,.0f}" for key, value in figures.items())
            say(f"round {number + 1} of {rounds}: {name}: {shown}")
    return found


def medians(found: Rounds, columns: Mapping[str, str]) -> str:
    """A table of each cell's medians; `columns` maps the key of a figure to its heading."""
    rows = [
        [
            name,
            *(_shown(median(run[key] for run in runs if key in run)) for key in columns),
            _spread([run["rate"] for run in runs]),
        ]
        for name, runs in found.items()
    ]
    return table(["", *columns.values(), "slowest to fastest round"], rows)


def bars_met(found: Rounds, bars: Iterable[Bar]) -> str:
    """A table of the ratios whose cells were both run."""
    rows = []
    for bar in bars:
        ratios = _ratios(found, bar)
        if ratios:
            middle = median(ratios)
            outcome = "" if not bar.demand else "met" if bar.is_met(middle) else "**missed**"
            rows.append([bar.what, f"{middle:.2f}", _spread(ratios, ".2f"), bar.demand, outcome])
    return table(["ratio, median of those inside each round", "", "lowest to highest", "bar", ""], rows)


def _ratios(found: Rounds, bar: Bar) -> list[float]:
    pairs = zip(found.get(bar.over, ()), found.get(bar.under, ()), strict=False)
    return [over[bar.figure] / under[bar.figure] for over, under in pairs if under.get(bar.figure)]


def _shown(value: float) -> str:
    return "-" if value != value else f"{value:,.0f}"  # noqa: PLR0124 - NaN: nothing was measured


def _spread(values: Sequence[float], form: str = ",.0f") -> str:
    return f"{min(values):{form}} to {max(values):{form}}" if values else "-"
