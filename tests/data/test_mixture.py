import dataclasses
import logging

import pytest
from shards import record
from streams import assert_equal, ids, mask_validation, take

from samjax.core.errors import UserError
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.data.stream.data_config import MixedSourceConfig


@pytest.fixture
def mixed(write_dataset):
    """Thirty photos, and ten others, of which three come for each of the first."""
    first = write_dataset([record(number) for number in range(30)], "first")
    second = write_dataset([record(number) for number in range(100, 110)], "second")
    return MaskDataConfig(
        source=str(first), mixed_in=(MixedSourceConfig(source=str(second), weight=3.0),), threads=2, max_masks=1
    )


def test_sources_are_dealt_out_by_weight(mixed, start):
    """At every moment, not on average; each in an order of its own, all its records once an epoch of its own."""
    found = ids(take(start(mixed, batch_size=8), 15))
    assert len(found) == 120
    for place in range(0, 120, 4):
        assert sum(identifier >= 100 for identifier in found[place : place + 4]) == 3
    first = [identifier for identifier in found if identifier < 100]
    second = [identifier for identifier in found if identifier >= 100]
    assert sorted(first) == list(range(30))
    epochs = [second[start : start + 10] for start in range(0, 90, 10)]
    assert all(sorted(epoch) == list(range(100, 110)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    other = ids(take(start(mixed, batch_size=8, seed=1), 15))
    assert found != other


def test_a_mixture_resumes_from_a_state_and_from_a_step(mixed, start):
    batches = take(start(mixed, batch_size=8), 9)
    interrupted = start(mixed, batch_size=8)
    take(interrupted, 4)
    resumed = start(dataclasses.replace(mixed, threads=1, prefetch_batches=1), batch_size=8)
    resumed.set_state(interrupted.get_state())
    assert_equal(take(resumed, 5), batches[4:])
    resumed.set_step(7)
    assert_equal(take(resumed, 2), batches[7:])


def test_a_state_of_other_weights_or_sources_is_refused(mixed, start):
    state = start(mixed).get_state()
    (second,) = mixed.mixed_in
    for other, says in (
        (dataclasses.replace(mixed, mixed_in=()), "records"),
        (dataclasses.replace(mixed, mixed_in=(dataclasses.replace(second, weight=2.0),)), "weights"),
        (dataclasses.replace(mixed, mixed_in=(second, second)), "records"),
    ):
        with pytest.raises(UserError, match=f"data stream has {says}"):
            start(other).set_state(state)


def test_a_bad_record_is_named_with_its_source(mixed, write_dataset, start, caplog):
    bad = write_dataset([b"junk"] + [record(number) for number in range(200, 299)], "bad")
    config = dataclasses.replace(mixed, mixed_in=(MixedSourceConfig(source=str(bad)),))
    take(start(config, batch_size=10), 20)
    (warning,) = [line.getMessage() for line in caplog.records if line.levelno == logging.WARNING]
    assert warning.startswith(f"{bad} train, record 0: ")


def test_validation_takes_one_source_after_the_other(mixed):
    found = ids(mask_validation(mixed, image_size=(32, 32), batch_size=16))
    assert found == [*range(30), *range(100, 110), *[-1] * 8]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_cannot_be_used_is_one_sentence(weight):
    with pytest.raises(UserError, match=rf"data\.mixed_in\.weight is {weight}; it must be .*above 0"):
        MixedSourceConfig(source="there", weight=weight)
