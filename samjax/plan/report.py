"""A plan as tables on a terminal."""

from rich.console import Console
from rich.table import Table

from samjax.plan.step_plan import Plan

GIB = 2**30


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
    for table in (_memory(plan), _buffers(plan), _collectives(plan), _largest(plan), _floor(plan), _run(plan)):
        if table is not None:
            console.print(table)


def does_not_fit(plan: Plan, *, name: str) -> str:
    """Return a sentence that tells the user why a plan does not fit and what to try."""
    needed = plan.needed or (plan.memory.peak if plan.memory else None)
    said = f"{name} does not fit on {plan.topology}"
    if plan.chip is not None:
        said += f", whose chips have {_size(plan.chip.memory)}"
    if needed is not None:
        said += f" and would need {_size(needed)}"
    large = [f"{one.shape} ({_size(one.bytes)}) of {_short(one.operation)}" for one in plan.largest_buffers[:3]]
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
        table.add_row(label, f"{size:,}", _size(size))
    share = (
        ""
        if plan.memory_share is None or plan.chip is None
        else (f"{_size(memory.peak)}, {plan.memory_share:.0%} of {_size(plan.chip.memory)}")
    )
    table.add_row("peak", f"{memory.peak:,}", share or _size(memory.peak), style="bold")
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


def _floor(plan: Plan) -> Table | None:
    if plan.floor is None:
        return None
    table = _table("The least time a step takes: the longest of", "", "ms", "amount a chip", "assuming")
    for term in plan.floor.terms:
        table.add_row(term.name, f"{term.seconds * 1e3:.2f}", f"{term.amount:.3g} {term.unit}", term.assumption)
    table.add_row("floor", f"{plan.floor.seconds * 1e3:.2f}", "", "everything overlaps", style="bold")
    table.add_row("", f"{plan.floor.without_overlap * 1e3:.2f}", "", "nothing overlaps")
    return table


def _run(plan: Plan) -> Table:
    table = _table("The run", "", "", "")
    if plan.model_flops_per_photo is not None:
        photo, step = plan.model_flops_per_photo, plan.model_flops_per_photo * plan.batch_size
        table.add_row("model FLOPs a photo", f"{photo / 1e12:.4g} TFLOP", "the least, counted from the configuration")
        table.add_row("model FLOPs a step", f"{step / 1e12:.4g} TFLOP", "what MFU divides by")
    if plan.work is not None:
        table.add_row("program's FLOPs a step", f"{plan.work.flops * plan.chips / 1e12:.4g} TFLOP", _counted(plan))
    if plan.speed is not None:
        speed = plan.speed
        table.add_row("step", f"{speed.step_seconds * 1e3:.1f} ms", f"at the floor, bound by {speed.bound}")
        if speed.mfu is not None:
            what = "at the floor; good code reaches half to two thirds of a chip's peak"
            table.add_row("MFU", f"{speed.mfu:.1%}", what)
        table.add_row("photos per second", f"{speed.photos_per_second:,.1f}", "at the floor")
        table.add_row(f"{plan.steps:,} steps", f"{speed.days:.2f} days", "at the floor, without evaluation and saving")
        table.add_row("", f"{speed.chip_hours:,.0f} chip-hours", "")
    elif plan.chip is None:
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
        table.add_column(
            column, justify="right" if column in ("bytes", "count", "chips", "ms", "bytes sent") else "left"
        )
    return table


def _size(size: int) -> str:
    return f"{size / GIB:.2f} GiB" if size >= GIB // 10 else f"{size / 2**20:.1f} MiB"


def _short(operation: str) -> str:
    """The last parts of an operation's path, which say what it is."""
    return operation if operation.startswith("(") else "/".join(operation.removesuffix(")").split("/")[-3:])[-70:]
