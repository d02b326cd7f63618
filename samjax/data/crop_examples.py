"""What examples of crops have in common: the photo's part of a row, whatever is known of its pixels."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from samjax.data.crop_data import CropDataConfig
from samjax.data.view import View

C = TypeVar("C", bound=CropDataConfig)


class CropExamples(Generic[C]):
    """Cuts crops of photos; an `ExampleMaker` is a subclass that adds what is known of their pixels.

    `image_size` is the crop's (height, width). Without `augment` the whole photo is scaled to fit it.
    """

    def __init__(self, config: C, *, image_size: tuple[int, int], augment: bool = True):
        self.config, self.frame, self._augment = config, image_size, augment

    def photo_row(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of a photo's part of its row."""
        return {
            "image": jax.ShapeDtypeStruct((*self.frame, 3), jnp.uint8),
            "valid_size": jax.ShapeDtypeStruct((2,), jnp.int32),
        }

    def crop(
        self, record: Any, rng: np.random.Generator, *, is_good: Callable[[View], bool]
    ) -> tuple[View, dict[str, np.ndarray]]:
        """Return a view of a record's photo, and the arrays of `photo_row`; `is_good` is as for `CropDataConfig.draw`.

        Raises:
          PhotoError: the photo is damaged.
        """
        photo = (record.height, record.width)
        view, colours = self.config.draw(rng, photo=photo, frame=self.frame, is_good=is_good, augment=self._augment)
        image = self.config.frame_photo(record.jpeg, view, colours, frame=self.frame)
        return view, {"image": image, "valid_size": np.array(view.window, np.int32)}
