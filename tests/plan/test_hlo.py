"""What is read from compiled programs: against XLA's own counts where it counts right, against arithmetic in loops."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from samjax.plan.collectives import Collective, collectives, exchanges, group_size
from samjax.plan.hlo import ArrayShape, parse
from samjax.plan.hlo_cost import convolution_flops, largest_buffers, largest_traffic, work
from samjax.plan.instructions import count_instructions, most_instructions

N, TRIPS = 64, 7


def compiled(function, *shapes, **options):
    return jax.jit(function, **options).lower(*shapes).compile()


def square(*leading: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*leading, N, N), jnp.float32)


def scanned(x, weights):
    return jax.lax.scan(lambda x, weight: (x @ weight, None), x, weights)[0]


def test_a_product_is_counted_as_xla_counts_it():
    program = compiled(lambda x, y: x @ y, square(), square())
    counted = work(parse(program.as_text()))
    assert counted.flops == program.cost_analysis()["flops"] == 2 * N**3
    assert counted.bytes == program.cost_analysis()["bytes accessed"] == 3 * 4 * N**2


def test_a_loop_counts_as_often_as_it_runs():
    """Where XLA counts its body once. A trip reads its weight, not all of them."""
    program = compiled(scanned, square(), square(TRIPS))
    counted = work(parse(program.as_text()))
    assert counted.flops == TRIPS * 2 * N**3
    assert program.cost_analysis()["flops"] < 2 * 2 * N**3
    assert TRIPS * 3 * 4 * N**2 <= counted.bytes < TRIPS * 8 * 4 * N**2
    assert counted.unknown_loops == 0


def test_loops_in_loops_multiply():
    def twice(x, weights):
        return jax.lax.scan(lambda x, _: (scanned(x, weights), None), x, None, length=3)[0]

    assert work(parse(compiled(twice, square(), square(TRIPS)).as_text())).flops == 3 * TRIPS * 2 * N**3


def test_a_loop_of_unknown_length_is_counted_once_and_told():
    def until(x):
        return jax.lax.while_loop(lambda x: jnp.sum(x) < 1.0, lambda x: x @ x, x)

    counted = work(parse(compiled(until, square()).as_text()))
    assert counted.unknown_loops == 1
    assert counted.flops == 2 * N**3


@pytest.fixture(scope="module")
def mesh():
    return Mesh(jax.devices()[:8], ("x",))


def test_exchanges_of_a_split_product(mesh):
    """Each trip of the loop sums over what is split: an all-reduce. The result comes whole: a gather."""
    columns, rows, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in [(None, "x"), ("x",), ()])
    left, right = (jax.ShapeDtypeStruct((N, N), jnp.float32, sharding=sharding) for sharding in (columns, rows))

    def step(x, y):
        return jax.lax.scan(lambda total, _: (jnp.tanh((total + x) @ y), None), jnp.zeros((N, N)), None, length=TRIPS)[
            0
        ]

    program = parse(compiled(step, left, right, out_shardings=whole).as_text())
    assert program.chips == 8
    [reduced] = [one for one in collectives(program) if one.kind == "all-reduce"]
    assert (reduced.kind, reduced.chips, reduced.count, reduced.bytes) == ("all-reduce", 8, TRIPS, TRIPS * 4 * N**2)

    [gathered] = collectives(parse(compiled(lambda x: 2 * x, right, out_shardings=whole).as_text()))
    assert (gathered.kind, gathered.count, gathered.bytes) == ("all-gather", 1, 4 * N**2)
    assert gathered.bytes_per_chip == 4 * N**2 * 7 / 8


def test_exchanges_in_a_loop_count_as_often_as_it_runs(mesh):
    """Rows times the whole: every trip gathers what the last one made."""
    rows = NamedSharding(mesh, PartitionSpec("x"))

    def step(x):
        return jax.lax.scan(lambda x, _: (jnp.tanh(x @ x), None), x, None, length=TRIPS)[0]

    shape = jax.ShapeDtypeStruct((N, N), jnp.float32, sharding=rows)
    found = collectives(parse(compiled(step, shape, out_shardings=rows).as_text()))
    assert [(one.kind, one.count, one.bytes) for one in found] == [("all-gather", TRIPS, TRIPS * 4 * N**2)]


def test_rings_send_no_more_with_more_chips_but_for_their_last_part():
    for kind, limit in [("all-reduce", 2), ("all-gather", 1), ("reduce-scatter", 1), ("all-to-all", 1)]:
        sent = [Collective(kind=kind, chips=chips, count=1, bytes=1000).bytes_per_chip for chips in (2, 8, 1024)]
        assert sent == sorted(sent)
        assert sent[-1] < limit * 1000


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ("channel_id=1, replica_groups={{0,1,2},{3,4,5}}, to_apply=%add", 3),
        ("channel_id=1, replica_groups=[2,4]<=[4,2]T(1,0), dimensions={0}", 4),
        (
            "replica_groups=mesh['axis_0'=2,'axis_1'=3,'axis_2'=4], device_ids=([2,12]T(1,0)) {'axis_0','axis_2'}, x=1",
            8,
        ),
        ("replica_groups=mesh['axis_0'=2,'axis_1'=6] {'axis_1':(1)3}, dimensions={0}", 3),
        ("replica_groups={}, to_apply=%add", 16),
        ("source_target_pairs={{0,1},{1,0}}", 2),
    ],
)
def test_group_sizes_in_every_form(attributes, size):
    assert group_size(attributes, 16) == size


def array(*dims: int) -> ArrayShape:
    return ArrayShape(dtype="f32", dims=dims)


@pytest.mark.parametrize(
    ("left", "right", "out", "attributes", "flops"),
    [
        # A 3 x 3 convolution of an 8 x 8 map, borders included: 22 of 24 taps meet the map along each side.
        (
            array(2, 8, 8, 16),
            array(3, 3, 16, 32),
            array(2, 8, 8, 32),
            "window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f",
            2 * 22**2 * 2 * 16 * 32,
        ),
        # A TPU's batched products, [8 4] of [9 5] x [5 64]: each place of the output meets one place of the kernel.
        (
            array(8, 9, 4, 5),
            array(8, 5, 4, 64),
            array(8, 4, 9, 64),
            "window={size=8x4 stride=7x3 lhs_dilate=8x4}, dim_labels=0b1f_0i1o->01bf",
            2 * 8 * 4 * 9 * 5 * 64,
        ),
        # A patch embedding.
        (
            array(2, 32, 32, 3),
            array(16, 16, 3, 24),
            array(2, 2, 2, 24),
            "window={size=16x16 stride=16x16}, dim_labels=b01f_01io->b01f",
            2 * 2 * 4 * 16 * 16 * 3 * 24,
        ),
    ],
)
def test_convolutions(left, right, out, attributes, flops):
    assert convolution_flops(left, right, out, attributes) == flops


def test_a_convolution_is_counted_as_xla_counts_it():
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (2, 2), [(1, 2), (0, 3)], rhs_dilation=(2, 1), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    shapes = [jax.ShapeDtypeStruct(dims, jnp.float32) for dims in [(2, 15, 17, 8), (3, 5, 8, 16)]]
    program = compiled(convolve, *shapes)
    assert work(parse(program.as_text())).flops == program.cost_analysis()["flops"]


@pytest.mark.parametrize(
    ("layout", "dtype", "precision", "passes"),
    [
        ("{1,0:T(8,128)}", "f32", "highest", 6),
        ("{1,0:T(8,128)}", "f32", "high", 3),
        ("{1,0:T(8,128)}", "f32", "default", 1),
        ("{1,0:T(8,128)(2,1)}", "bf16", "highest", 1),
        ("{1,0}", "f32", "highest", 1),
    ],
)
def test_a_tpu_multiplies_float32_in_passes(layout, dtype, precision, passes):
    array = f"{dtype}[16,16]{layout}"
    precise = f"operand_precision={{{precision},{precision}}}"
    text = (
        f"HloModule m\n\nENTRY %e (a: {dtype}[16,16], b: {dtype}[16,16]) -> {dtype}[16,16] {{\n"
        f"  %a = {array} parameter(0)\n  %b = {array} parameter(1)\n"
        f"  ROOT %c = {array} convolution(%a, %b), dim_labels=bf_io->bf, {precise}\n}}\n"
    )
    assert work(parse(text)).flops == passes * 2 * 16**3


TPU_PROGRAM = """\
HloModule jit_step, is_scheduled=true, num_partitions=4

%start (p.0: bf16[48,3]) -> bf16[96,3] {
  %p.0 = bf16[48,3]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %all-gather.1 = bf16[96,3]{1,0:T(8,128)(2,1)S(1)} all-gather(%p.0), channel_id=7, replica_groups=[2,2]<=[4], dimensions={0}, backend_config={"async_collective_fusion_config":{"flag_start":"-1"}}
}

%done (p.1: bf16[48,3]) -> bf16[96,3] {
  %p.1 = bf16[48,3]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %all-gather.2 = bf16[96,3]{1,0:T(8,128)(2,1)S(1)} all-gather(%p.1), channel_id=7, replica_groups=[2,2]<=[4], dimensions={0}, backend_config={"async_collective_fusion_config":{"flag_end":"8"}}
}, execution_thread="sparsecore"

%all-reduce-scatter.3 (p.2: f32[16,8]) -> f32[8,8] {
  %p.2 = f32[16,8]{1,0:T(8,128)} parameter(0)
  %all-reduce.4 = f32[16,8]{1,0:T(8,128)} all-reduce(%p.2), channel_id=1, replica_groups={{0,1},{2,3}}, to_apply=%add
  %zero = s32[]{:T(128)} constant(0)
  ROOT %slice.5 = f32[8,8]{1,0:T(8,128)} dynamic-slice(%all-reduce.4, %zero, %zero), dynamic_slice_sizes={8,8}
}

ENTRY %main (x: bf16[48,3], y: f32[16,8]) -> f32[8,8] {
  %x = bf16[48,3]{1,0:T(8,128)(2,1)} parameter(0)
  %y = f32[16,8]{1,0:T(8,128)} parameter(1)
  %fusion.1 = bf16[96,3]{1,0:T(8,128)(2,1)S(1)} fusion(%x), kind=kCustom, calls=%start
  %kernel.2 = f32[16,3]{1,0:T(8,128)} custom-call(%fusion.1), custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
"block":"128"
}}, metadata={op_name="jit(step)/attention/pallas_call"}, backend_config={"custom_call_config":{"body":"TUz", "cost_estimate": {"flops": 1234, "transcendentals": 5}}}
  %kernel.3 = f32[16,3]{1,0:T(8,128)} custom-call(%fusion.1), custom_call_target="tpu_custom_call"
  %fusion.2 = bf16[96,3]{1,0:T(8,128)(2,1)S(1)} fusion(%x), kind=kCustom, calls=%done
  ROOT %fusion.3 = f32[8,8]{1,0:T(8,128)} fusion(%y), kind=kCustom, calls=%all-reduce-scatter.3
}
"""  # noqa: E501


def test_what_tpus_print_differently():
    program = parse(TPU_PROGRAM)
    found = {one.kind: one for one in collectives(program)}
    assert found["all-gather"].count == 1, "one exchange, fused in two pieces"
    assert found["all-gather"].bytes == 96 * 3 * 2
    assert found["reduce-scatter"].bytes == 16 * 8 * 4, "an all-reduce of which each chip keeps a part"
    assert set(found) == {"all-gather", "reduce-scatter"}

    counted = work(program)
    assert counted.flops == 1234
    assert counted.unseen_kernels == 1, "a kernel that does not say what it computes"
    assert [buffer.bytes for buffer in largest_buffers(program, 1)] == [16 * 128 * 4], "rows are padded to 128"
    assert largest_buffers(program, 1)[0].operation == "jit(step)/attention/pallas_call"


def test_on_chip_memory_is_not_traffic():
    """The kernels read what the gather left on the chip, and write padded rows; fusions read and write the rest."""
    padded = 128 * 2  # bytes of a row of bf16[..., 3]
    gathers = 2 * 48 * padded
    kernels = 2 * 16 * 128 * 4
    scatter = (16 + 8) * 128 * 4
    assert work(parse(TPU_PROGRAM)).bytes == gathers + kernels + scatter


def test_operations_are_named():
    """A kernel by its own name; what the compiler made up by its opcode."""
    program = parse(TPU_PROGRAM)
    traffic = {one.operation: one for one in largest_traffic(program, 9)}
    assert traffic["jit(step)/attention/pallas_call"].bytes == 16 * 128 * 4
    assert sum(one.bytes for one in traffic.values()) == work(program).bytes
    assert [(one.kind, one.operation) for one in exchanges(program)] == [
        ("all-gather", "(fusion)"),
        ("reduce-scatter", "(fusion)"),
    ]

    named = parse(compiled(lambda x, y: jnp.tanh(x @ y) + 1, square(), square()).as_text())
    assert any("dot_general" in one.operation for one in largest_traffic(named, 9))


# A loop of five trips, in each a loop of three; a conditional in the outer one whose other branch returns what it gets.
LOOPS = """\
HloModule jit_step, is_scheduled=true

%inner_body (a: (s32[], f32[64,64])) -> (s32[], f32[64,64]) {
  %a = (s32[], f32[64,64]{1,0}) parameter(0)
  %a.0 = s32[] get-tuple-element(%a), index=0
  %a.1 = f32[64,64]{1,0} get-tuple-element(%a), index=1
  %one = s32[] constant(1)
  %next = s32[] add(%a.0, %one)
  %dot.1 = f32[64,64]{1,0} dot(%a.1, %a.1), lhs_contracting_dims={1}, rhs_contracting_dims={0}, metadata={op_name="jit(step)/while/body/while/body/dot_general"}
  %xor.1 = f32[64,64]{1,0} copy(%dot.1), metadata={op_name="jit(step)/while/body/while/body/jit(_uniform)/xor"}
  %or.1 = f32[64,64]{1,0} copy(%xor.1), metadata={op_name="jit(step)/while/body/while/body/jit(_uniform)/or"}
  ROOT %made = (s32[], f32[64,64]{1,0}) tuple(%next, %or.1)
}

%inner_condition (b: (s32[], f32[64,64])) -> pred[] {
  %b = (s32[], f32[64,64]{1,0}) parameter(0)
  %b.0 = s32[] get-tuple-element(%b), index=0
  %three = s32[] constant(3)
  ROOT %less = pred[] compare(%b.0, %three), direction=LT
}

%work_branch (c: f32[64,64]) -> f32[64,64] {
  %c = f32[64,64]{1,0} parameter(0)
  %dot.2 = f32[64,64]{1,0} dot(%c, %c), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %negate.1 = f32[64,64]{1,0} negate(%dot.2)
}

%idle_branch (d: f32[64,64]) -> f32[64,64] {
  ROOT %d = f32[64,64]{1,0} parameter(0)
}

%moving_branch (h: f32[64,64]) -> f32[64,64] {
  %h = f32[64,64]{1,0} parameter(0)
  %wide = f32[64,64,99]{2,1,0} broadcast(%h), dimensions={0,1}
  ROOT %narrow = f32[64,64]{1,0} slice(%wide), slice={[0:64], [0:64], [0:1]}
}

%outer_body (e: (s32[], f32[64,64])) -> (s32[], f32[64,64]) {
  %e = (s32[], f32[64,64]{1,0}) parameter(0)
  %e.0 = s32[] get-tuple-element(%e), index=0
  %e.1 = f32[64,64]{1,0} get-tuple-element(%e), index=1
  %step = s32[] constant(1)
  %following = s32[] add(%e.0, %step)
  %zero = s32[] constant(0)
  %start = (s32[], f32[64,64]{1,0}) tuple(%zero, %e.1)
  %while.1 = (s32[], f32[64,64]{1,0}) while(%start), condition=%inner_condition, body=%inner_body
  %looped = f32[64,64]{1,0} get-tuple-element(%while.1), index=1
  %conditional.1 = f32[64,64]{1,0} conditional(%zero, %looped, %looped), branch_computations={BRANCHES}
  %copy-start.1 = (f32[64,64]{1,0:S(1)}, f32[64,64]{1,0}, u32[]{:S(2)}) copy-start(%conditional.1)
  %copy-done.1 = f32[64,64]{1,0:S(1)} copy-done(%copy-start.1)
  %negate.2 = f32[64,64]{1,0} negate(%copy-done.1)
  ROOT %result = (s32[], f32[64,64]{1,0}) tuple(%following, %negate.2)
}

%outer_condition (f: (s32[], f32[64,64])) -> pred[] {
  %f = (s32[], f32[64,64]{1,0}) parameter(0)
  %f.0 = s32[] get-tuple-element(%f), index=0
  %five = s32[] constant(5)
  ROOT %under = pred[] compare(%f.0, %five), direction=LT
}

%beside (g: f32[64,64]) -> f32[64,64] {
  %g = f32[64,64]{1,0} parameter(0)
  ROOT %reverse.1 = f32[64,64]{1,0} reverse(%g), dimensions={0}
}

ENTRY %main (x: f32[64,64]) -> f32[64,64] {
  %x = f32[64,64]{1,0} parameter(0)
  %begin = s32[] constant(0)
  %async-start.1 = ((f32[64,64]{1,0}), f32[64,64]{1,0}, u32[]) async-start(%x), calls=%beside
  %async-done.1 = f32[64,64]{1,0} async-done(%async-start.1)
  %first = (s32[], f32[64,64]{1,0}) tuple(%begin, %async-done.1)
  %while.2 = (s32[], f32[64,64]{1,0}) while(%first), condition=%outer_condition, body=%outer_body
  ROOT %last = f32[64,64]{1,0} get-tuple-element(%while.2), index=1
}
"""  # noqa: E501


def loops(branches: str = "%idle_branch, %work_branch"):
    return parse(LOOPS.replace("BRANCHES", branches))


def test_executed_instructions_are_counted_with_their_loops():
    """A condition runs once more than its body; the halves of an asynchronous instruction are one."""
    counted = work(loops())
    inner = 3 * 4 + 4  # counter, product and two copies in three trips; the condition's comparison in four
    outer = 5 * (inner + 2 + 2) + 6  # the counter and a negation; the product and negation of the branch
    assert counted.instructions == outer
    assert counted.scalar_instructions == 5 * (3 + 4 + 1) + 6, "counters and comparisons"
    assert counted.asynchronous == 1 + 5


def test_a_conditional_counts_as_its_most_costly_branch():
    """So a step that may skip work is planned for as one that does all of it, in whichever order the branches stand."""
    counted = work(loops("%work_branch"))
    assert counted == work(loops("%idle_branch, %work_branch")) == work(loops("%work_branch, %idle_branch"))
    assert counted.flops == 5 * (3 + 1) * 2 * 64**3
    assert work(loops("%idle_branch")).flops == 5 * 3 * 2 * 64**3


def test_each_figure_of_a_conditional_counts_its_own_most_costly_branch():
    """One branch has a product on few bytes, the other moves more and multiplies nothing."""
    product, moves = work(loops("%work_branch")), work(loops("%moving_branch"))
    assert product.flops > moves.flops
    assert product.bytes < moves.bytes
    for branches in ("%work_branch, %moving_branch", "%moving_branch, %work_branch"):
        both = work(loops(branches))
        assert (both.flops, both.bytes) == (product.flops, moves.bytes)


def test_what_executes_most_is_named_by_its_traced_function():
    found = {one.operation: one.count for one in most_instructions(loops(), 99)}
    assert found["jit(step)/while/body/while/body/jit(_uniform)"] == 5 * 3 * 2
    assert found["jit(step)/while/body/while/body/dot_general"] == 5 * 3
    assert sum(found.values()) == count_instructions(loops()).sequential
    first = most_instructions(loops(), 1)
    assert [one.count for one in first] == [max(found.values())]


def test_other_text_is_refused():
    with pytest.raises(ValueError, match="no ENTRY computation"):
        parse("module @jit_step { }")
