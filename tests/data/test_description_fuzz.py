"""Whatever a description says, reading it gives a record or says why not: no crash, no hang, bounded memory."""

import contextlib
import json
import resource
import string

import pytest
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st
from shards import description, record

from data_pipelines.descriptions import KINDS, parse_pair
from data_pipelines.pairs import Pair
from samjax.data.masks import rle
from samjax.data.records.masks import decode_record, encode_record

ITEM = record(7)
WHOLE = json.dumps(description(ITEM))

numbers = st.one_of(
    st.integers(),
    st.integers(0, 40),
    st.sampled_from([2**31 - 1, 2**31, 2**53, 2**63, 2**64, 10**9, 10**18, 10**400, -1, 0.5]),
    st.floats(),
)
counts = st.one_of(
    st.text("0123456789:;<=>?@ABCPQ`abcdo~ \n\ud800é", max_size=40),
    st.text(string.printable, max_size=10),
    st.builds(lambda text, times: text * times, st.text("01X`oo0", max_size=4), st.integers(0, 20_000)),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, counts, st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


def places(value, path=()):
    """Every path into a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


PLACES = list(places(json.loads(WHOLE)))


@st.composite
def changed(draw):
    """A whole description with some of it replaced or taken away."""
    value = json.loads(WHOLE)
    for path in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3)):
        holder = value
        try:
            for key in path[:-1]:
                holder = holder[key]
            if not path:
                value = draw(values)
            elif draw(st.integers(0, 5)) == 0:
                del holder[path[-1]]
            else:
                holder[path[-1]] = draw(counts if path[-1] == "counts" else values)
        except (LookupError, TypeError):
            continue  # an earlier change took this place away
    return json.dumps(value).encode()


@st.composite
def cut_and_spliced(draw):
    """Text that is hardly JSON any more."""
    text = WHOLE.encode()
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 30)))
    return text[:start] + draw(st.binary(max_size=12)) + text[end:]


texts = st.one_of(changed(), changed(), cut_and_spliced(), st.binary(max_size=200))


def law(text):
    try:
        found = parse_pair(Pair(where="x", jpeg=ITEM.jpeg, text=text))
    except tuple(KINDS) as error:
        str(error)[:300].encode()  # a message that can be written down
        return False
    for mask in found.annotations:
        assert int(rle.decode(mask.counts, height=found.height, width=found.width).sum()) == mask.area
    again = decode_record(encode_record(found))
    assert [mask.counts for mask in again.annotations] == [mask.counts for mask in found.annotations]
    assert (again.image_id, again.file_name, again.jpeg) == (found.image_id, found.file_name, found.jpeg)
    return True


AT_ONCE = 5_000
"""Cases of one Hypothesis run: it remembers every one, and its memory is not what is measured."""


def run(cases):
    law(WHOLE.encode())  # what is loaded and compiled once is not the cases'
    used, memory = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for first in range(0, cases, AT_ONCE):

        @seed(first)
        @settings(
            max_examples=min(AT_ONCE, cases - first),
            deadline=10_000,  # ms a case
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(texts)
        @example(WHOLE.encode())
        def cases_hold(text):
            nonlocal used
            used += law(text)

        cases_hold()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown < 300 * 1024, f"{grown:,} KiB more"
    assert used > cases // 100, "hardly a case was a description: this tests nothing"


def test_any_description_gives_a_record_or_a_reason():
    run(1_000)


@pytest.mark.long
@pytest.mark.slow
def test_any_description_gives_a_record_or_a_reason_at_length():
    run(100_000)


BOMBS = {
    "lists": b"[" + b"[]," * (5 * 2**20) + b"[]]",
    "objects": b'{"a":' * 500_000,
    "counts": WHOLE.replace('"counts": "', '"counts": "' + "0" * (15 * 2**20), 1).encode(),
    "annotations": WHOLE.replace('"annotations": [', '"annotations": [' + "{}," * (5 * 2**20)).encode(),
    "number": WHOLE.replace('"width": 32', '"width": ' + "9" * 2**23).encode(),
}


@pytest.mark.parametrize(
    "bomb", [pytest.param(name, marks=[pytest.mark.slow] if name in ("lists", "counts") else []) for name in BOMBS]
)
def test_a_text_at_the_limit_takes_seconds_and_bounded_memory(bomb):
    """The largest JSON that is read, in the shapes that blow up most."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(BOMBS[bomb]) <= 16 * 2**20
    with contextlib.suppress(*KINDS):
        parse_pair(Pair(where="x", jpeg=ITEM.jpeg, text=BOMBS[bomb]))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown < 1500 * 1024, f"{grown:,} KiB more"
