import dataclasses

import numpy as np
from shards import jpeg, record

from samjax.data.stream.sources import open_source
from samjax.data.survey import survey


def test_a_survey_counts_every_record(prepared):
    found = survey(open_source(str(prepared / "train"), "train"), sample=100, seed=0)
    assert (found.total, found.sample, len(found.masks), len(found.shares)) == (42, 42, 42, 361)
    assert found.masks.sum() == 361
    assert not found.faults


def test_areas_and_sizes_are_those_of_the_masks(write_dataset):
    masks = np.zeros((2, 20, 40), bool)
    masks[0, :10] = True
    masks[1, 0, 0] = True
    found = survey(
        open_source(str(write_dataset([record(1, masks, height=20, width=40), record(2)])), "train"), sample=9, seed=0
    )
    np.testing.assert_allclose(np.sort(found.shares)[-1], 0.5)
    assert 1 / 800 in found.shares
    assert found.sizes.tolist() == [[20, 40], [24, 32]]
    np.testing.assert_allclose(found.aspects, [2.0, 4 / 3])
    assert found.masks.tolist() == [2, 2]


def test_broken_records_are_counted_by_kind_and_named(write_dataset):
    whole = record(1)
    other_size = dataclasses.replace(record(2), jpeg=jpeg(10, 10))
    short = dataclasses.replace(whole.annotations[0], counts="1")
    bad_mask = dataclasses.replace(record(3), annotations=(whole.annotations[0], short))
    found = survey(
        open_source(str(write_dataset([whole, other_size, bad_mask, b"\xff\xff"])), "train"), sample=9, seed=0
    )
    assert found.faults == {"broken photo": 1, "broken mask": 1, "not a readable record": 1}
    assert len(found.masks) == 1
    assert "image 2" in found.examples[0]
    assert "image 3" in found.examples[1]
    assert "record 3" in found.examples[2]


def test_a_sample_is_drawn_by_its_seed_without_repeats(write_dataset):
    source = open_source(str(write_dataset([record(number) for number in range(30)])), "train")
    seen = []

    class PrepareProgress:
        name = "watched"

        def __len__(self):
            return len(source)

        def __getitem__(self, index):
            seen.append(int(index))
            return source[index]

    steps = []
    found = survey(PrepareProgress(), sample=12, seed=4, advance=lambda: steps.append(1))
    first = sorted(seen)
    assert found.sample == len(set(first)) == len(steps) == 12
    assert first != list(range(12)), "the first records are no sample"
    seen.clear()
    survey(PrepareProgress(), sample=12, seed=4)
    assert sorted(seen) == first
    seen.clear()
    survey(PrepareProgress(), sample=12, seed=5)
    assert sorted(seen) != first
