"""Which split a photo goes to: for validation a share is held out, by a hash of each photo's name, or a list.

The split of a photo depends on its name and the share alone: not on the order of photos, the platform, or what else the
data set holds. So photos that are added later move no other, and a larger share holds out the same photos and more.
"""

import hashlib
import unicodedata
from typing import Annotated

from data_pipelines.holdout_list import find_name
from samjax.core.errors import UserError
from samjax.core.ranges import Range, config_class

HELD_OUT = "val"
TRAINING = "train"
"""How the names of splits for training begin."""
SHARE = Range(above=0, below=1, why="it is the share of the photos that are held out for validation")


@config_class("")
class Splits:
    """The splits of a data set: `name` alone, or, with a holdout, that and `val`."""

    name: str = TRAINING
    """The split of all photos that are not held out."""
    holdout: Annotated[float, SHARE] | None = None
    """The share of photos that go to `val`; None holds out none."""
    holdout_names: frozenset[str] = frozenset()
    """Names of the photos that go to `val`, as `holdout_list` reads them; in place of a share."""

    def __post_init__(self):
        if self.holdout is not None and self.holdout_names:
            raise UserError("--holdout and --holdout-list both say which photos are held out: give one of them")
        if self.holds_out and self.name == HELD_OUT:
            raise UserError(
                f"--split is {HELD_OUT}, where --holdout puts the photos that are held out: give another name"
            )

    @property
    def holds_out(self) -> bool:
        """Whether there is a split `val` beside the other."""
        return self.holdout is not None or bool(self.holdout_names)

    @property
    def description(self) -> str:
        """What is held out, in a few words that differ where the photos may; empty if none."""
        if self.holdout_names:
            digest = hashlib.sha256(
                "\n".join(sorted(self.holdout_names)).encode("utf-8", "surrogateescape")
            ).hexdigest()[:8]
            return f", a list of {len(self.holdout_names):,} held out ({digest})"
        return "" if self.holdout is None else f", {self.holdout:g} held out"

    @property
    def remedy(self) -> str:
        """What to do where a split has no photo."""
        return "give another --holdout-list" if self.holdout_names else f"give another --holdout than {self.holdout:g}"

    @property
    def names(self) -> tuple[str, ...]:
        """The splits' names."""
        return (self.name, HELD_OUT) if self.holds_out else (self.name,)

    def split_of(self, photo: str) -> str:
        """Return the split of the photo called `photo`, its path in the folder of photos with `/` between its parts.

        Macs write accents apart from their letters, other systems as one character: both names give one split.
        """
        if self.holdout_names:
            return self.name if find_name(self.holdout_names, photo) is None else HELD_OUT
        if self.holdout is None:
            return self.name
        name = unicodedata.normalize("NFC", photo).encode("utf-8", "surrogateescape")
        turn = int.from_bytes(hashlib.sha256(b"holdout\0" + name).digest()[:8], "big")
        return HELD_OUT if turn < self.holdout * 2**64 else self.name

    def trains(self, split: str) -> bool:
        """Return whether `split` is for training, where a photo without objects is of no use."""
        return split == self.name and (self.holds_out or split.startswith(TRAINING))
