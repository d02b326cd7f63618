"""The comparison with golden plans: within the tolerances it passes, beyond any of them it fails."""

import pytest
from helpers.golden_plans import OTHER_COMPILER, TOLERANCES, differences, golden_path

GOLDEN = "micro on v5e:2x2\ncompiled by libtpu 1\n" + "".join(f"{label}: 1,000,000\n" for label in TOLERANCES)


@pytest.mark.parametrize("label", TOLERANCES)
@pytest.mark.parametrize("sign", [-1, 1])
def test_each_figure_has_its_tolerance(label, sign):
    def with_change(change: int) -> str:
        return GOLDEN.replace(f"\n{label}: 1,000,000", f"\n{label}: {1_000_000 + sign * change:,}")

    allowed = round(1_000_000 * TOLERANCES[label])
    assert differences(GOLDEN, GOLDEN) == []
    assert differences(GOLDEN, with_change(allowed)) == []
    [found] = differences(GOLDEN, with_change(allowed + 1))
    assert found.startswith(label)


@pytest.mark.parametrize("label", TOLERANCES)
def test_another_compiler_may_differ_by_more(label):
    def by_another(figure: int) -> str:
        changed = GOLDEN.replace(f"\n{label}: 1,000,000", f"\n{label}: {figure:,}")
        return changed.replace("libtpu 1", "libtpu 2")

    allowed = round(1_000_000 * (1 + OTHER_COMPILER))
    assert differences(GOLDEN, by_another(allowed)) == []
    assert len(differences(GOLDEN, by_another(allowed + 1))) == 1


def test_names_of_golden_files_have_no_colon():
    assert golden_path("vit_b", "v5e:16x16").name == "vit_b_v5e-16x16.txt"
