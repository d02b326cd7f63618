"""What is wrong with data to evaluate on: all of it told at once, and counted where it is allowed."""

from samjax.core.errors import UserError

_EXAMPLES = 5


class Problems:
    """Collects what is wrong with `what`, by kind, until `settle`.

    A kind is a plural noun phrase that a count goes before: "annotations of images that are not in the file".
    """

    def __init__(self, what: str):
        self._what = what
        self._found: dict[str, list[str]] = {}

    def add(self, kind: str, which: object) -> None:
        """Note one more of `kind`; `which` names it."""
        self._found.setdefault(kind, []).append(str(which))

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind."""
        return {kind: len(those) for kind, those in self._found.items()}

    def settle(self, *, allow_missing: bool) -> dict[str, int]:
        """Return the counts of what is wrong, if there is nothing or the user allows it.

        Raises:
          UserError: something is wrong and it is not allowed; every kind with its count and the first of them.
        """
        if self._found and not allow_missing:
            kinds = "; ".join(self._sentence(kind, those) for kind, those in self._found.items())
            raise UserError(f"{self._what} has {kinds}. Mend it, or leave these out with --allow-missing")
        return self.counts()

    @staticmethod
    def _sentence(kind: str, those: list[str]) -> str:
        more = ", ..." if len(those) > _EXAMPLES else ""
        return f"{len(those):,} {kind} ({', '.join(those[:_EXAMPLES])}{more})"
