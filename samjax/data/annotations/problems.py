"""Problems of evaluation data: reported all at once, or counted if they are allowed."""

from collections import Counter

from samjax.core.errors import UserError

UNUSABLE = "photos without a mask that can be used"
_EXAMPLES = 5
_LONGEST = 80


def quote(value: object) -> str:
    """Return a value as messages show it: as Python writes it, so that '1' and 1 differ, and not too long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


class Problems:
    """Collects what is wrong with `what`, by kind, until `settle`.

    A kind is a plural noun phrase that a count goes before: "annotations of images that are not in the file".
    """

    def __init__(self, what: str):
        self._what = what
        self._found: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()
        self._unannotated: set[str] = set()
        self._empty: set[str] = set()

    def add(self, kind: str, which: object, *, times: int = 1) -> None:
        """Note one more of `kind`, or `times`; `which` names it."""
        self._found.setdefault(kind, []).append(str(which))
        self._counts[kind] += times

    def add_without_annotations(self, kind: str, which: object) -> None:
        """Note one more of `kind`, a photo without annotations: allowed by an option of its own."""
        self._unannotated.add(kind)
        self.add(kind, which)

    def add_empty(self, kind: str, which: object) -> None:
        """Note one more of `kind`, a photo without annotations because it has no object: its annotations say so."""
        self._empty.add(kind)
        self.add_without_annotations(kind, which)

    def count(self, kind: str, times: int) -> None:
        """Count what is left out as the field does: it is reported and refuses nothing."""
        self._counts[kind] += times

    @property
    def total(self) -> int:
        """How many there are of all kinds."""
        return self._counts.total()

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind."""
        return dict(self._counts)

    def settle(
        self, *, allow_missing: bool, allow_unannotated: bool = False, keep_empty: bool = False
    ) -> dict[str, int]:
        """Return the counts of what is wrong, if there is nothing or the user allows it.

        Args:
          allow_missing: allows everything.
          allow_unannotated: allows photos without annotations.
          keep_empty: photos without an object are no problem and are not counted; where `allow_unannotated` is given,
            nor are photos without annotations.

        Raises:
          UserError: something is wrong and it is not allowed; every kind with its count and the first of them.
        """
        kept = set()
        if keep_empty:
            kept = self._unannotated if allow_unannotated else self._empty
        allowed = self._unannotated if allow_unannotated else kept
        refused = [] if allow_missing else [kind for kind in self._found if kind not in allowed]
        if refused:
            kinds = "; ".join(map(self._sentence, refused))
            raise UserError(f"{self._what} has {kinds}. Fix it, or {self._way_out(set(refused))}")
        return {kind: count for kind, count in self._counts.items() if kind not in kept}

    def _way_out(self, refused: set[str]) -> str:
        if refused <= self._unannotated:
            return "accept these with --allow-unannotated"
        alone = ", or those without annotations alone with --allow-unannotated" if refused & self._unannotated else ""
        return f"leave these out with --allow-missing{alone}"

    def _sentence(self, kind: str) -> str:
        those = [one if one.isprintable() else repr(one)[1:-1] for one in self._found[kind][:_EXAMPLES]]
        more = ", ..." if len(self._found[kind]) > _EXAMPLES else ""
        return f"{self._counts[kind]:,} {kind} ({', '.join(those)}{more})"
