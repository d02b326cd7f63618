"""The grids of points that a tuning compares, and what of each is decoded."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass

from samjax.core.errors import UserError
from samjax.predict.automatic.generator_config import GeneratorConfig

_GRIDS = ((16, 0, 1), (32, 0, 1), (16, 1, 1), (32, 1, 2), (32, 2, 2))
"""`points_per_side`, `crop_layers` and `points_downscale` of each."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A grid of points in each crop of one layer. Grids share layers: what one decodes serves the others."""

    crops: int
    """The number of the layer: 0 is the whole photo."""
    points_per_side: int

    def config(self, base: GeneratorConfig) -> GeneratorConfig:
        """Return the generator that decodes it, `base` otherwise."""
        return dataclasses.replace(
            base, points_per_side=self.points_per_side, points_downscale=1, crop_layers=self.crops
        )


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A grid of points, and whether crops have one too."""

    points_per_side: int
    crop_layers: int
    points_downscale: int

    @classmethod
    def of(cls, config: GeneratorConfig) -> "Grid":
        """Return the grid of `config`."""
        return cls(
            points_per_side=config.points_per_side,
            crop_layers=config.crop_layers,
            points_downscale=config.points_downscale,
        )

    def config(self, base: GeneratorConfig) -> GeneratorConfig:
        """Return `base` with this grid."""
        return dataclasses.replace(base, **dataclasses.asdict(self))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What is decoded."""
        config = self.config(GeneratorConfig())
        return tuple(
            Layer(crops=layer, points_per_side=config.points_in(layer)) for layer in range(self.crop_layers + 1)
        )

    @property
    def points(self) -> int:
        """How many points of a photo are decoded: nearly all of the time goes there."""
        return sum(4**layer.crops * layer.points_per_side**2 for layer in self.layers)

    def __str__(self) -> str:
        crops = "no crops" if not self.crop_layers else f"{self.crop_layers} layer{'s' * (self.crop_layers > 1)}"
        fewer = f", 1/{self.points_downscale} a layer" if self.crop_layers and self.points_downscale > 1 else ""
        return f"{self.points_per_side} x {self.points_per_side}, {crops}{fewer}"


def grids_to_try(base: GeneratorConfig, *, fixed: Collection[str]) -> list[Grid]:
    """Return the grids to compare, those of the fewest points first; fields of `base` in `fixed` are in all of them."""
    found: list[Grid] = []
    names = [field.name for field in dataclasses.fields(Grid)]
    for values in _GRIDS:
        own = dict(zip(names, values, strict=True)) | {name: getattr(base, name) for name in names if name in fixed}
        grid = Grid(**own)
        if not grid.crop_layers:
            grid = dataclasses.replace(grid, points_downscale=1)
        try:
            grid.config(base)
        except UserError:  # it leaves no point in the smallest crops
            continue
        if grid not in found:
            found.append(grid)
    return sorted(found, key=lambda grid: grid.points)
