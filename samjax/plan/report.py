"""A plan as tables on a terminal."""

from rich.console import Console
from rich.table import Table

from samjax.plan.step_plan import Plan

GIB = 2**30
_FIGURES = ("bytes", "count", "chips", "ms", "bytes sent", "at the floor", "without latency")


def show(plan: Plan, *, name: str, console: Console | None = None) -> None:
    """Print `plan` of the experiment called `name`."""
    console = Console() if console is None else console
    shape = ", ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
    console.print(
        f"\n[bold]{name} on {plan.topology}[/bold]: {plan.chips} chips, mesh {shape}, {plan.batch_size} photos a step"
    )
    console.print("Every figure is predicted, from the compiled step and published peaks; nothing has been run.")
    if plan.compiled_for != plan.topology and plan.memory is not None:
        console.print(f"It does not fit: memory and exchanges are those of the step compiled for {plan.compiled_for}.")
    tables = (_memory, _buffers, _collectives, _largest, _repeated, _floor, _choices, _speed, _run)
    for make in tables:
        if (table := make(plan)) is not None:
            console.print(table)


def does_not_fit(plan: Plan, *, name: str) -> str:
    """Return a sentence that tells the user why a plan does not fit and what to try."""
    needed = plan.needed or (plan.memory.peak if plan.memory else None)
    said = f"{name} does not fit on {plan.topology}"
    if plan.chip is not None:
        said += f", whose chips have {readable_size(plan.chip.memory)}"
    if needed is not None:
        said += f" and would need {readable_size(needed)}"
    large = [f"{one.shape} ({readable_size(one.bytes)}) of {_short(one.operation)}" for one in plan.largest_buffers[:3]]
    if large:
        said += f"; the largest buffers are {', '.join(large)}"
    return (
        f"{said}; try fewer photos a step (--batch-size), --model.image-encoder.remat FULL, fewer masks "
        "(--data.max-masks), more chips, or parameters split further (--mesh.preset FSDP)"
    )


def _memory(plan: Plan) -> Table | None:
    if plan.memory is None:
        return None
    memory = plan.memory
    table = _table("Memory of a chip", "", "bytes", "")
    for label, size in [
        ("parameters", memory.parameters),
        ("optimiser moments", memory.moments),
        ("batch", memory.batch),
        ("activations, gradients, padding", memory.temporaries),
    ]:
        table.add_row(label, f"{size:,}", readable_size(size))
    share = (
        ""
        if plan.memory_share is None or plan.chip is None
        else (f"{readable_size(memory.peak)}, {plan.memory_share:.0%} of {readable_size(plan.chip.memory)}")
    )
    table.add_row("peak", f"{memory.peak:,}", share or readable_size(memory.peak), style="bold")
    return table


def _buffers(plan: Plan) -> Table | None:
    if not plan.largest_buffers:
        return None
    table = _table("Largest buffers of a chip (not all at once)", "", "bytes", "operation")
    for one in plan.largest_buffers:
        table.add_row(one.shape, f"{one.bytes:,}", _short(one.operation))
    return table


def _collectives(plan: Plan) -> Table | None:
    if plan.memory is None:
        return None
    table = _table("What a chip exchanges in a step", "", "chips", "count", "bytes", "bytes sent")
    for one in plan.collectives:
        table.add_row(one.kind, f"{one.chips}", f"{one.count:,}", f"{one.bytes:,}", f"{one.bytes_per_chip:,.0f}")
    if not plan.collectives:
        table.add_row("nothing", "", "", "", "")
    return table


def _largest(plan: Plan) -> Table | None:
    """Print where exchanges and memory traffic come from, for optimisation."""
    if not plan.largest_traffic:
        return None
    table = _table("What moves most in a step", "", "count", "bytes", "operation")
    for one in plan.largest_exchanges:
        table.add_row(f"{one.kind}, {one.chips} chips", f"{one.count:,}", f"{one.bytes:,}", _short(one.operation))
    for one in plan.largest_traffic:
        table.add_row("main memory", f"{one.count:,}", f"{one.bytes:,}", _short(one.operation))
    return table


def _repeated(plan: Plan) -> Table | None:
    """Print where instructions come from, for optimisation."""
    if plan.work is None:
        return None
    work = plan.work
    table = _table("What executes most in a step", "", "count", "operation")
    said = f"{work.scalar_instructions:,} of them make only scalars, such as loop counters"
    table.add_row("one after another", f"{work.instructions:,}", said, style="bold")
    table.add_row("asynchronous", f"{work.asynchronous:,}", "copies and exchanges that run beside the others")
    for one in plan.most_instructions:
        table.add_row("", f"{one.count:,}", _short(one.operation))
    return table


def _floor(plan: Plan) -> Table | None:
    if plan.floor is None:
        return None
    floor = plan.floor
    title = "The least time a step takes: the longest of compute, memory and interconnect, and latency on top"
    table = _table(title, "", "ms", "amount a chip", "assuming")
    for term in (*floor.terms, floor.latency):
        amount = f"{term.amount:,.0f}" if term is floor.latency else f"{term.amount:.3g}"
        table.add_row(term.name, f"{term.seconds * 1e3:.2f}", f"{amount} {term.unit}", term.assumption)
    table.add_row("floor", f"{floor.seconds * 1e3:.2f}", "", "everything but latency overlaps", style="bold")
    table.add_row("", f"{floor.without_latency.seconds * 1e3:.2f}", "", "the same without latency")
    table.add_row("", f"{floor.without_overlap * 1e3:.2f}", "", "nothing overlaps")
    return table


def _choices(plan: Plan) -> Table | None:
    if not plan.choices:
        return None
    table = _table(f"Chosen for {plan.topology}", "", "")
    for name, value in plan.choices.items():
        table.add_row(name, value)
    return table


def _speed(plan: Plan) -> Table | None:
    speeds = [speed for speed in (plan.speed, plan.speed_without_latency) if speed is not None]
    if not speeds:
        return None
    table = _table("Speed", "", "at the floor", "without latency", "")
    table.add_row("step", *(f"{speed.step_seconds * 1e3:.1f} ms" for speed in speeds), "")
    table.add_row("bound by", *(speed.bound for speed in speeds), "what takes most of it")
    if all(speed.mfu is not None for speed in speeds):
        said = "good code reaches half to two thirds of a chip's peak"
        table.add_row("MFU", *(f"{speed.mfu:.1%}" for speed in speeds), said)
    table.add_row("photos per second", *(f"{speed.photos_per_second:,.1f}" for speed in speeds), "")
    table.add_row(
        f"{plan.steps:,} steps", *(f"{speed.days:.2f} days" for speed in speeds), "excluding evaluation and saving"
    )
    table.add_row("", *(f"{speed.chip_hours:,.0f} chip-hours" for speed in speeds), "")
    return table


def _run(plan: Plan) -> Table:
    table = _table("The run", "", "", "")
    if plan.model_flops_per_photo is not None:
        photo, step = plan.model_flops_per_photo, plan.model_flops_per_photo * plan.batch_size
        table.add_row("model FLOPs a photo", f"{photo / 1e12:.4g} TFLOP", "the least, counted from the configuration")
        table.add_row("model FLOPs a step", f"{step / 1e12:.4g} TFLOP", "what MFU divides by")
    if plan.work is not None:
        table.add_row("program's FLOPs a step", f"{plan.work.flops * plan.chips / 1e12:.4g} TFLOP", _counted(plan))
    if plan.chip is None:
        table.add_row("time", "unknown", "no peaks are published for this chip")
    if plan.largest_batch is not None:
        table.add_row("largest batch that fits", f"{plan.largest_batch:,} photos", "a step")
    if plan.compile_seconds is not None:
        table.add_row("compiling took", f"{plan.compile_seconds:.0f} s", "measured, on this machine")
    return table


def _counted(plan: Plan) -> str:
    assert plan.work is not None
    said = "compiled program of a chip times chips, loops multiplied out (XLA's own count takes a loop's body once)"
    if plan.work.unseen_kernels:
        said += f"; {plan.work.unseen_kernels:,} kernel calls do not say theirs and are missing"
    if plan.work.unknown_loops:
        said += f"; {plan.work.unknown_loops} loops of unknown length counted once"
    return said


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in _FIGURES else "left")
    return table


def readable_size(size: int) -> str:
    """Return a number of bytes for people."""
    return f"{size / GIB:.2f} GiB" if size >= GIB // 10 else f"{size / 2**20:.1f} MiB"


def _short(operation: str) -> str:
    """The last parts of an operation's path, which say what it is."""
    return operation if operation.startswith("(") else "/".join(operation.removesuffix(")").split("/")[-3:])[-70:]
