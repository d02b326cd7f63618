"""What an annotation folder refuses, each with a sentence for the page; nothing is changed by what it refuses."""

from typing import TYPE_CHECKING

from samjax.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samjax.annotate.proposal import Proposal
    from samjax.annotate.saved_mask import SavedMask


class UnknownPhotoError(UserError):
    """The folder has no photo with this id, or the photo no mask or proposal of this name."""


class InvalidMaskError(UserError):
    """What was sent is no mask of the photo: its runs do not fill it, or a field is not what it must be."""


class ConflictError(UserError):
    """A mask has changed since the one who asks saw it.

    `stored` is the mask as it is now, None if it has been deleted; `deleted` is then the revision that brings it back.
    """

    def __init__(self, message: str, stored: "SavedMask | None", *, deleted: int | None = None):
        super().__init__(message)
        self.stored, self.deleted = stored, deleted


class StaleProposalError(UserError):
    """A proposal's state has been set since the one who asks saw it; `proposals` are all of the photo's as they are."""

    def __init__(self, message: str, proposals: "Sequence[Proposal]"):
        super().__init__(message)
        self.proposals = proposals


class LostLeaseError(UserError):
    """The photo is leased to somebody else, or the lease has ended."""


class NotAllowedError(UserError):
    """This person may not do this, or not any more."""


class NotSavedError(UserError):
    """The disk is full or fails: what was to be saved is not, what was saved before still is."""
