"""Two plans of one run side by side, to choose between settings."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from samjax.plan.report import readable_size
from samjax.plan.roofline import Term
from samjax.plan.step_plan import Plan


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A run's plan, and its plan with other values of some fields."""

    changes: tuple[str, ...]
    """What differs, each FIELD=VALUE."""
    plan: Plan
    other: Plan


def show_comparison(comparison: Comparison, *, name: str, console: Console | None = None) -> None:
    """Print both plans of the experiment called `name` as one table."""
    console = Console() if console is None else console
    plan, changed = comparison.plan, comparison.other
    changes = escape(", ".join(comparison.changes))
    console.print(f"\n[bold]{name} on {plan.topology}[/bold]: {plan.chips} chips, with and without {changes}")
    console.print("Every figure is predicted, from the compiled step and published peaks; nothing has been run.")
    table = Table(title="Both plans, amounts of a chip and step", title_justify="left", title_style="bold")
    table.add_column("")
    for column in (name, changes, "change"):
        table.add_column(column, justify="right")
    for label, figure, text in _rows(plan, changed):
        before, after = figure(plan), figure(changed)
        texts = [text(value) if value is not None else "" for value in (before, after)]
        if any(texts):
            table.add_row(label, *texts, _change(before, after))
    for label in dict.fromkeys([*plan.choices, *changed.choices]):
        table.add_row(label, plan.choices.get(label, ""), changed.choices.get(label, ""), "")
    console.print(table)


Number = int | float
Figure = Callable[[Plan], Number | None]


def _rows(plan: Plan, changed: Plan) -> Iterator[tuple[str, Figure, Callable[[Number], str]]]:
    yield "photos per step", lambda plan: plan.batch_size, _whole
    yield "peak memory", _peak, lambda size: readable_size(int(size))
    yield "FLOPs", lambda plan: plan.work and plan.work.flops, lambda flops: f"{flops / 1e12:.4g} TFLOP"
    yield "bytes of main memory", lambda plan: plan.work and plan.work.bytes, lambda size: f"{size / 1e9:,.4g} GB"
    yield "instructions, one after another", lambda plan: plan.work and plan.work.instructions, _whole
    yield "of these, scalars only", lambda plan: plan.work and plan.work.scalar_instructions, _whole
    yield "asynchronous instructions", lambda plan: plan.work and plan.work.asynchronous, _whole
    names = dict.fromkeys(term.name for one in (plan, changed) for term in _terms(one))
    for name in names:
        yield name, _seconds(name), _ms
    yield "floor", lambda plan: plan.speed and plan.speed.step_seconds, _ms
    without = "floor without latency"
    yield without, lambda plan: plan.speed_without_latency and plan.speed_without_latency.step_seconds, _ms
    yield "MFU at the floor", lambda plan: plan.speed and plan.speed.mfu, _share
    yield "MFU without latency", lambda plan: plan.speed_without_latency and plan.speed_without_latency.mfu, _share
    yield "photos per second", lambda plan: plan.speed and plan.speed.photos_per_second, lambda n: f"{n:,.1f}"
    yield "largest batch, photos", lambda plan: plan.largest_batch, _whole
    yield "compile time", lambda plan: plan.compile_seconds, lambda seconds: f"{seconds:.0f} s"


def _peak(plan: Plan) -> Number | None:
    """Return what a chip needs, also where it does not fit."""
    return plan.needed if plan.needed is not None else plan.memory and plan.memory.peak


def _terms(plan: Plan) -> tuple[Term, ...]:
    return () if plan.floor is None else (*plan.floor.terms, plan.floor.latency)


def _seconds(name: str) -> Figure:
    return lambda plan: next((term.seconds for term in _terms(plan) if term.name == name), None)


def _change(before: Number | None, after: Number | None) -> str:
    if before is None or after is None or before == after:
        return ""
    return f"x {after / before:.3g}" if before else ""


def _whole(number: Number) -> str:
    return f"{number:,.0f}"


def _ms(seconds: Number) -> str:
    return f"{seconds * 1e3:.2f} ms"


def _share(share: Number) -> str:
    return f"{share:.1%}"
