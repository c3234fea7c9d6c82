"""A sweep: one experiment at many points of a grid, and the charts that compare them."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from swarm.config.figures import MONEY, Figure
from swarm.config.prices import PricesConfig
from swarm.config.strict import Strict

POINTS_MAX = 10_000
CHARTS_MAX = 16


class SweepChartConfig(Strict):
    """One comparison chart: a figure over one key of the grid, a curve for each value of another."""

    y: Figure = Field(description="dotted figure of summary.json, per_gpu.*, or of `economics`: money.*")
    x: str | None = Field(None, description="key of the grid; null: the sweep's x")
    series: str | None = Field(
        None, description="key of the grid; null: all that neither x nor columns takes"
    )
    columns: str | None = Field(
        None, description="key of the grid: one chart beside the other for each value"
    )
    title: str = Field("", description="above the chart; none: made from its axes")
    x_title: str = Field("", description="of the x axis; none: the key")
    y_title: str = Field("", description="of the y axis; none: the figure")
    note: str = Field("", description="what the chart asks, above it; what it answers is computed")
    log_x: bool = Field(False, description="logarithmic x axis")
    log_y: bool = Field(False, description="logarithmic y axis")
    zones: bool = Field(False, description="each point's zone A, B or C, by `economics`, beside it")


class EconomicsConfig(Strict):
    """What a fleet costs and what its tokens are sold for: each point loses money, breaks even or earns."""

    gpu_hour: float = Field(gt=0, description="price of one GPU for an hour")
    prices: PricesConfig = Field(description="what a million tokens are sold for")
    break_even: tuple[float, float] = Field(
        (0.9, 1.1), description="revenue over cost: zone A below the first, C above the second, B between"
    )
    source: str = Field("", description="where these numbers are from; shown with them")

    @model_validator(mode="after")
    def _band_is_ordered(self) -> "EconomicsConfig":
        if not 0 < self.break_even[0] <= self.break_even[1]:
            raise ValueError("break_even: [LOW, HIGH] with 0 < LOW <= HIGH is expected")
        return self


class SweepConfig(Strict):
    """Every combination of the grid's values, at every seed."""

    grid: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict, description="dotted key of the experiment -> values; a value may be a mapping"
    )
    tied: dict[str, dict[str, tuple[Any, ...]]] = Field(
        default_factory=dict,
        description="key of the grid -> other keys that change with it -> a value for each of its own",
    )
    labels: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="names for a key's values, in their order, for charts"
    )
    seeds: tuple[int, ...] = Field((), description="none: the experiment's own seed")
    x: str | None = Field(None, description="key on the x axis of the charts; null: the grid's first")
    y: tuple[Figure, ...] = Field(
        ("throughput.output_tokens_per_s", "effective_ttft_s.p95", "cache.hit_rate"),
        description="dotted figures of summary.json, a chart each, where `charts` names none",
    )
    charts: tuple[SweepChartConfig, ...] = Field((), max_length=CHARTS_MAX)
    economics: EconomicsConfig | None = None

    @property
    def x_key(self) -> str:
        """The key of the x axis."""
        return self.x or next(iter(self.grid), "seed")

    @property
    def charts_wanted(self) -> tuple[SweepChartConfig, ...]:
        """The charts that are named, or one for each figure of `y`."""
        return self.charts or tuple(SweepChartConfig(y=figure) for figure in self.y)

    @field_validator("grid")
    @classmethod
    def _values_are_given(cls, grid: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key, values in grid.items():
            if not values:
                raise ValueError(f"{key}: at least one value is expected")
        if "seed" in grid:
            raise ValueError("seed: its values belong under sweep.seeds")
        for key in grid:
            if key.split(".")[0] == "sweep":
                raise ValueError(f"{key}: a point of a sweep has no sweep of its own")
        return grid

    @model_validator(mode="after")
    def _ties_go_with_the_grid(self) -> "SweepConfig":
        taken = [*self.grid, "seed", "sweep"]
        for key, others in self.tied.items():
            if key not in self.grid:
                raise ValueError(f"tied: {key} is not a key of the grid: {', '.join(self.grid)}")
            for other, values in others.items():
                if other in taken or other.split(".")[0] == "sweep":
                    raise ValueError(f"tied.{key}: {other} is set already; a key is set in one place")
                taken.append(other)
                if len(values) != len(self.grid[key]):
                    raise ValueError(
                        f"tied.{key}.{other}: {len(values)} values for the {len(self.grid[key])} of {key}"
                    )
        return self

    @model_validator(mode="after")
    def _money_is_priced(self) -> "SweepConfig":
        asked = [(f"y.{at}", figure) for at, figure in enumerate(self.y)]
        for at, chart in enumerate(self.charts):
            asked += [(f"charts.{at}.y", chart.y), (f"charts.{at}.zones", MONEY if chart.zones else "")]
        for name, figure in asked:
            if figure.split(".")[0] == MONEY and self.economics is None:
                raise ValueError(f"{name}: needs prices; state them under sweep.economics")
        return self

    @model_validator(mode="after")
    def _names_are_of_the_grid(self) -> "SweepConfig":
        for key, names in self.labels.items():
            if len(names) != len(self.grid.get(key, ())):
                raise ValueError(
                    f"labels.{key}: {len(names)} names for {len(self.grid.get(key, ()))} values of the grid"
                )
            if len(set(names)) != len(names):
                raise ValueError(
                    f"labels.{key}: each value needs a name of its own, or charts take two for one"
                )
        asked = [("x", self.x)]
        for at, chart in enumerate(self.charts):
            asked += [(f"charts.{at}.{name}", getattr(chart, name)) for name in ("x", "series", "columns")]
        for name, asked_key in asked:
            if asked_key is not None and asked_key not in self.grid:
                raise ValueError(f"{name}: {asked_key} is not a key of the grid: {', '.join(self.grid)}")
        return self

    @model_validator(mode="after")
    def _points_of_a_chart_are_told_apart(self) -> "SweepConfig":
        for at, chart in enumerate(self.charts):
            told = {chart.x or self.x_key, chart.series, chart.columns}
            left = [key for key, values in self.grid.items() if len(values) > 1 and key not in told]
            if chart.series is not None and left:
                raise ValueError(
                    f"charts.{at}.series: {chart.series} leaves {', '.join(left)} out, over which the "
                    "chart would average as over seeds; leave series out for a curve for each of their values"
                )
        return self
