"""Names of masks that outlive their place in a file: a generated mask has the same one wherever it is named."""

import hashlib
import uuid


def generated_uuid(photo: int, place: int, counts: str) -> str:
    """Return the UUID of the mask that a model gave `photo`, an id, at `place`, from 0, among its masks.

    It depends on nothing else: a proposal that a person accepts keeps it, and so does a mask that is drawn in a sample.
    """
    digest = hashlib.sha256(f"{photo}\0{place}\0{counts}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))
