"""Every number of every config has a range, and every field says what it is."""

import ast
import dataclasses
import importlib
import inspect
import math
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import tyro

from samjax.core.errors import UserError
from samjax.core.ranges import Range, check_fields, config_class, field_types
from samjax.data.annotations.formats import FormatOptions
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.losses.sam_loss import LossConfig
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import DropsConfig
from samjax.parallel.mesh import MeshConfig
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.prompting.interactive import InteractionConfig
from samjax.tasks.promptable import ClickValidationConfig, PromptableTraining
from samjax.training.config import CheckpointConfig

ROOT = Path(__file__).parent.parent.parent


def written() -> Iterator[tuple[str, str, list[str]]]:
    """Yield module, name and decorators of every class of samjax that is a config by its name or its decorator."""
    for path in sorted((ROOT / "samjax").rglob("*.py")):
        source = path.read_text()
        if "Config" not in source and "config_class" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                decorators = [ast.unparse(one).split("(")[0] for one in node.decorator_list]
                if node.name.endswith("Config") or "config_class" in decorators:
                    yield ".".join(path.relative_to(ROOT).with_suffix("").parts), node.name, decorators


CLASSES = [getattr(importlib.import_module(module), name) for module, name, _ in written()]


def configs(cls: type, section: str) -> Iterator[tuple[type, str]]:
    """Yield a config's class and those of its fields, each with its dotted name."""
    yield cls, section
    for name, expected in field_types(cls).items():
        for kind in (expected, *typing.get_args(expected)):
            if dataclasses.is_dataclass(kind) and isinstance(kind, type):
                yield from configs(kind, f"{section}.{name}".lstrip("."))


def numbers(expected: Any, ranges: tuple = ()) -> Iterator[tuple[Any, list[Range]]]:
    """Yield every int and float within a type, and its ranges."""
    if typing.get_origin(expected) is Annotated:
        yield from numbers(typing.get_args(expected)[0], typing.get_args(expected)[1:])
    elif expected in (int, float):
        yield expected, [one for one in ranges if isinstance(one, Range)]
    elif typing.get_origin(expected) in (tuple, typing.Union, types.UnionType):
        for kind in typing.get_args(expected):
            yield from numbers(kind)


def test_every_config_is_checked():
    found = list(written())
    assert len(found) >= 14
    for module, name, decorators in found:
        assert "config_class" in decorators, f"{module}.{name} is not a config_class: its fields are not checked"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_number_has_a_range(cls):
    for name, expected in field_types(cls).items():
        for kind, ranges in numbers(expected):
            assert len(ranges) == 1, f"{cls.__name__}.{name}: {kind.__name__} without a Range"
            assert ranges[0].why, f"{cls.__name__}.{name}: a range says why"
            assert not {math.nan, math.inf, -math.inf} & {one for one in (math.nan, math.inf) if one in ranges[0]}


@pytest.mark.filterwarnings("ignore:get_parser")
@pytest.mark.parametrize("cls", [cls for cls in CLASSES if not inspect.isabstract(cls)], ids=lambda cls: cls.__name__)
def test_every_field_has_help(cls):
    """What `--help` prints, without the default."""
    for action in tyro.extras.get_parser(cls)._actions:
        words = str(action.help).replace("(required)", "").split("(default")[0].strip()
        assert words, f"{cls.__name__}: {action.option_strings} has no help: write a docstring below the field"


@pytest.mark.parametrize("root", [PromptableTraining, GeneratorConfig, FormatOptions], ids=lambda cls: cls.__name__)
def test_sections_are_where_the_fields_are(root):
    """So that a sentence names the field as the command line does."""
    for cls, section in configs(root, ""):
        assert cls.section == section  # type: ignore[attr-defined]


REFUSED = [
    (CheckpointConfig, "keep", 0, "checkpoint.keep is 0; it must be at least 1: with none kept"),
    (CheckpointConfig, "keep", -1, "checkpoint.keep is -1; it must be at least 1"),
    (CheckpointConfig, "every", 0, "checkpoint.every is 0; it must be at least 1"),
    (DropsConfig, "peak_lr", -1e-3, "optim.schedule.peak_lr is -0.001; it must be above 0"),
    (DropsConfig, "peak_lr", 0.0, "optim.schedule.peak_lr is 0.0; it must be above 0"),
    (DropsConfig, "peak_lr", math.nan, "optim.schedule.peak_lr is nan; it must be a finite number, above 0"),
    (DropsConfig, "peak_lr", math.inf, "optim.schedule.peak_lr is inf; it must be a finite number, above 0"),
    (DropsConfig, "milestones", (5, 5), "optim.schedule.milestones are (5, 5); give ascending"),
    (OptimConfig, "beta2", 1.0, "optim.beta2 is 1.0; it must be at least 0 and below 1"),
    (OptimConfig, "weight_decay", math.nan, "optim.weight_decay is nan; it must be a finite number"),
    (LossConfig, "dice_weight", math.nan, "loss.dice_weight is nan; it must be a finite number"),
    (LossConfig, "dice_smoothing", 0.0, "loss.dice_smoothing is 0.0; it must be above 0"),
    (ImageEncoderConfig, "drop_path", 1.5, "model.image_encoder.drop_path is 1.5; it must be at least 0 and below 1"),
    (ImageEncoderConfig, "global_every", 0, "model.image_encoder.global_every is 0; it must be at least 1"),
    (ImageEncoderConfig, "heads", 0, "model.image_encoder.heads is 0; it must be at least 1"),
    (ImageEncoderConfig, "window", 0, "model.image_encoder.window is 0; it must be at least 1"),
    (MaskDecoderConfig, "dropout", 1.0, "model.mask_decoder.dropout is 1.0; it must be at least 0 and below 1"),
    (SamConfig, "image_size", (1024, 0), "model.image_size (1024, 0) has 0; it must be at least 1"),
    (SamConfig, "image_size", (64, -64), "model.image_size (64, -64) has -64; it must be at least 1"),
    (ClickValidationConfig, "photos", 0, "validation.photos is 0; it must be at least 1"),
    (ClickValidationConfig, "clicks", (0, 1), "validation.clicks (0, 1) has 0; it must be at least 1"),
    (ClickValidationConfig, "clicks", (), "validation.clicks are (); give ascending numbers"),
    (
        ClickValidationConfig,
        "min_area_fraction",
        0.95,
        "validation.min_area_fraction is 0.95; it must be at least 0 and",
    ),
    (MeshConfig, "data", 0, "mesh.data is 0; it must be at least 1, or -1"),
    (MeshConfig, "data", -2, "mesh.data is -2; it must be at least 1, or -1"),
    (MeshConfig, "dcn_data", 0, "mesh.dcn_data is 0; it must be at least 1"),
    (
        InteractionConfig,
        "point_probability",
        math.nan,
        "prompting.point_probability is nan; it must be a finite number",
    ),
    (GeneratorConfig, "masks_per_point", 2, "masks_per_point is 2; it must be 1 or 3"),
    (GeneratorConfig, "stability_offset", math.inf, "stability_offset is inf; it must be a finite number"),
    (FormatOptions, "class_base", 0, "class_base is 0; it must be at least 1"),
]


@pytest.mark.parametrize(("cls", "field", "value", "sentence"), REFUSED)
def test_a_number_that_no_run_can_have_is_one_sentence(cls, field, value, sentence):
    with pytest.raises(UserError) as error:
        cls(**{field: value})
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("steps", 2**31, "steps is 2147483648; it must be between 1 and 2,147,483,647"),
        ("seed", -1, "seed is -1; it must be between 0 and"),
        ("batch_size", 0, "batch_size is 0; it must be at least 1"),
        ("steps", 1e5, "steps is 100000.0; it must be a whole number, between 1 and"),
        ("steps", True, "steps is True; it must be a whole number"),
        ("steps", "many", "steps is 'many'; it must be a whole number"),
        ("stall_timeout_s", "long", "stall_timeout_s is 'long'; it must be a number, at least 0"),
        ("stall_timeout_s", math.nan, "stall_timeout_s is nan; it must be a finite number, at least 0"),
        ("data", {"source": "x"}, "data is {'source': 'x'}; it must be a MaskDataConfig"),
        ("data", None, "data is None; it must be a MaskDataConfig"),
        ("init_from", 3, "init_from is 3; it must be text"),
    ],
)
def test_a_value_of_another_type_is_one_sentence(field, value, sentence):
    config = PromptableTraining(data=MaskDataConfig(source=""))
    object.__setattr__(config, field, value)  # the tests' own type checks would stop it sooner
    with pytest.raises(UserError) as error:
        check_fields(config, "")
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("image_size", (64,), "model.image_size is (64,); it must be a tuple of a whole number, a whole number"),
        ("image_size", [64, 64], "model.image_size is [64, 64]; it must be a tuple of"),
        ("image_size", (64, 6.5), "model.image_size (64, 6.5) has 6.5; it must be a whole number"),
        ("dtype", "float8", "model.dtype is 'float8'; it must be float32 or bfloat16"),
        ("image_encoder", MaskDecoderConfig(), "model.image_encoder is MaskDecoderConfig("),
    ],
)
def test_types_within_types_are_looked_at(field, value, sentence):
    config = SamConfig()
    object.__setattr__(config, field, value)
    with pytest.raises(UserError) as error:
        check_fields(config, "model")
    assert str(error.value).startswith(sentence)


def test_a_member_of_an_enum_is_not_its_name():
    config = InteractionConfig()
    object.__setattr__(config, "refinement", "last")
    with pytest.raises(
        UserError, match=r"prompting\.refinement is 'last'; it must be one of Refinement\.NONE, Refinement"
    ):
        check_fields(config, "prompting")


def test_a_loss_of_nothing_is_refused():
    with pytest.raises(UserError, match=r"loss\.focal_weight and loss\.dice_weight are both 0"):
        LossConfig(focal_weight=0.0, dice_weight=0.0)


def test_a_config_checks_its_fields_before_itself():
    @config_class("part")
    class Part:
        whole: Annotated[int, Range(at_least=1, why="it divides")] = 1

        def __post_init__(self):
            assert 1 // self.whole

    with pytest.raises(UserError, match=r"part\.whole is 0; it must be at least 1: it divides"):
        Part(whole=0)


@pytest.mark.parametrize(
    ("within", "words", "inside", "outside"),
    [
        (Range(at_least=1, why="."), "at least 1", (1, 2.5), (0, -1, math.nan, math.inf)),
        (Range(above=0, below=16, why="."), "above 0 and below 16", (1e-9, 15.9), (0, 16, -math.inf)),
        (Range(at_least=0, at_most=1, why="."), "between 0 and 1", (0, 1), (-1e-9, 1.01)),
        (Range(at_least=1, also=(-1,), why="."), "at least 1, or -1", (1, -1), (0, -2)),
        (Range(one_of=(1, 3), why="."), "1 or 3", (1, 3), (2,)),
        (Range(why="."), "finite", (-1e30, 0), (math.nan, math.inf)),
    ],
)
def test_a_range_is_what_it_says(within, words, inside, outside):
    assert str(within) == words
    assert all(number in within for number in inside)
    assert not any(number in within for number in outside)
