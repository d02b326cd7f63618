"""Who is next on the one thread of JAX, whatever the order in which requests come."""

import threading
from concurrent.futures import CancelledError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samjax.annotate.click_queue import ClickQueue, Lane
from samjax.annotate.prompt_request import NewerRequest
from samjax.core.errors import UserError


@pytest.fixture
def queue():
    queue = ClickQueue()
    yield queue
    queue.close()


class Blocked:
    """Holds a queue's thread while requests come in."""

    def __init__(self, queue: ClickQueue):
        self._begun, self._go = threading.Event(), threading.Event()
        self.future = queue.submit(self._wait, lane=Lane.CLICK)
        assert self._begun.wait(10)

    def _wait(self) -> None:
        self._begun.set()
        assert self._go.wait(10)

    def release(self) -> None:
        self._go.set()
        self.future.result(10)


def outcome(future):
    try:
        return future.result(10)
    except NewerRequest:
        return "newer"


def test_an_annotators_newest_click_takes_the_olders_place(queue):
    order, blocked = [], Blocked(queue)

    def click(annotator, number):
        return queue.submit(lambda: order.append((annotator, number)), lane=Lane.CLICK, annotator=annotator)

    futures = [click("a", 1), click("b", 1), click("a", 2), click("a", 3)]
    blocked.release()
    assert [outcome(future) for future in futures] == ["newer", None, "newer", None]
    assert order == [("a", 3), ("b", 1)]


def test_clicks_go_before_hovers_and_a_hover_drops_no_click(queue):
    order, blocked = [], Blocked(queue)

    def ask(lane, annotator, name):
        return queue.submit(lambda: order.append(name), lane=lane, annotator=annotator)

    futures = {
        "old hover": ask(Lane.HOVER, "a", "old hover"),
        "nobody": queue.submit(lambda: order.append("nobody"), lane=Lane.BACKGROUND),
        "click of b": ask(Lane.CLICK, "b", "click of b"),
        "hover of c": ask(Lane.HOVER, "c", "hover of c"),
        "click of a": ask(Lane.CLICK, "a", "click of a"),
        "hover of b": ask(Lane.HOVER, "b", "hover of b"),
    }
    blocked.release()
    outcomes = {name: outcome(future) for name, future in futures.items()}
    assert [name for name, found in outcomes.items() if found == "newer"] == ["old hover"]
    assert order == ["click of b", "click of a", "hover of c", "hover of b", "nobody"]


def test_what_runs_is_not_replaced(queue):
    begun, go = threading.Event(), threading.Event()

    def work():
        begun.set()
        go.wait(10)
        return "old"

    old = queue.submit(work, lane=Lane.CLICK, annotator="a")
    assert begun.wait(10)
    new = queue.submit(lambda: "new", lane=Lane.CLICK, annotator="a")
    go.set()
    assert [outcome(old), outcome(new)] == ["old", "new"]


def test_work_that_waits_holds_nobody_up(queue):
    waits = queue.submit(lambda: "late", lane=Lane.CLICK, annotator="a", needs=7)
    assert queue.submit(lambda: "soon", lane=Lane.BACKGROUND).result(10) == "soon"
    assert not waits.done()
    queue.provide(8)
    assert queue.submit(lambda: "soon", lane=Lane.BACKGROUND).result(10) == "soon"
    assert not waits.done()
    queue.provide(7)
    assert waits.result(10) == "late"


def test_work_that_waits_is_replaced_by_newer(queue):
    waits = queue.submit(lambda: "photo 7", lane=Lane.CLICK, annotator="a", needs=7)
    assert queue.submit(lambda: "photo 8", lane=Lane.CLICK, annotator="a").result(10) == "photo 8"
    assert outcome(waits) == "newer"


def test_what_will_not_come_fails_those_who_wait_for_it_alone(queue):
    waits = [queue.submit(lambda: "late", lane=Lane.CLICK, annotator=name, needs=7) for name in "ab"]
    other = queue.submit(lambda: "other", lane=Lane.CLICK, annotator="c", needs=8)
    queue.refuse(7, UserError("no photo"))
    for future in waits:
        with pytest.raises(UserError, match="no photo"):
            future.result(10)
    queue.provide(8)
    assert other.result(10) == "other"


def test_errors_are_the_callers_and_the_thread_goes_on(queue):
    def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        queue.submit(fail, lane=Lane.CLICK).result(10)
    assert queue.submit(lambda: 1, lane=Lane.CLICK).result(10) == 1


def test_a_request_that_nobody_wants_any_more_is_not_run(queue):
    ran, blocked = [], Blocked(queue)
    gone = queue.submit(lambda: ran.append("gone"), lane=Lane.CLICK, annotator="a")
    assert gone.cancel()
    other = queue.submit(lambda: ran.append("other"), lane=Lane.CLICK, annotator="b")
    replaced = queue.submit(lambda: ran.append("replaced"), lane=Lane.HOVER, annotator="c")
    assert replaced.cancel()
    last = queue.submit(lambda: ran.append("last"), lane=Lane.HOVER, annotator="c")
    blocked.release()
    other.result(10)
    last.result(10)
    assert ran == ["other", "last"]
    with pytest.raises(CancelledError):
        gone.result(10)


def test_closing_ends_what_runs_and_fails_the_rest():
    queue = ClickQueue()
    blocked = Blocked(queue)
    waits = [
        queue.submit(lambda: 1, lane=Lane.CLICK, annotator="a"),
        queue.submit(lambda: 1, lane=Lane.HOVER, annotator="b", needs=3),
    ]
    closing = threading.Thread(target=queue.close)
    closing.start()
    for future in waits:
        with pytest.raises(UserError, match="the server is stopping"):
            future.result(10)
    blocked.release()
    closing.join(10)
    assert not closing.is_alive()
    with pytest.raises(UserError, match="the server is stopping"):
        queue.submit(lambda: 1, lane=Lane.CLICK).result(10)


requests = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([Lane.CLICK, Lane.HOVER]), st.booleans()))


@pytest.mark.slow  # a minute and a half where the machine has other work
@settings(max_examples=30)
@given(requests=requests, random=st.randoms(use_true_random=False))
def test_every_request_has_one_outcome_and_the_newest_of_each_annotator_is_answered(requests, random):
    """For any requests of three annotators, some of which wait for a photo that comes at a random time."""
    queue, ran = ClickQueue(), []
    try:
        blocked = Blocked(queue)
        futures = [
            queue.submit(
                lambda number=number: ran.append(number),
                lane=lane,
                annotator=annotator,
                needs="photo" if waits else None,
            )
            for number, (annotator, lane, waits) in enumerate(requests)
        ]
        provide = threading.Timer(random.random() * 0.002, queue.provide, ["photo"])
        provide.start()
        blocked.release()
        provide.join()
        outcomes = [outcome(future) for future in futures]
    finally:
        queue.close()
    assert sorted(ran) == [number for number, found in enumerate(outcomes) if found != "newer"]
    for number, (annotator, lane, _) in enumerate(requests):
        newer = [other for other in requests[number + 1 :] if other[0] == annotator and other[1] <= lane]
        assert (outcomes[number] == "newer") == bool(newer)
