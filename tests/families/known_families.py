"""Every family of models, as the laws of `test_families.py` try it. A new family is one more entry of `KNOWN`."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from helpers.micro import micro_model, micro_run

from samjax.data.photo_data import PhotoDataConfig
from samjax.interop.family import Family
from samjax.interop.tables.mae import MAE
from samjax.interop.tables.sam import SAM
from samjax.losses.sam_loss import LossConfig
from samjax.models.mae import MaeConfig, MaeDecoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.models.vit.vit import Positions, VitConfig
from samjax.prompting.interactive import InteractionConfig, Refinement
from samjax.tasks.masked_images import MaskedImageTraining
from samjax.tasks.promptable import PromptableTraining
from samjax.training.config import TrainConfig

SYNTHETIC = "synthetic:photos=16,size=96,masks=4"


@dataclass(frozen=True, kw_only=True)
class Size:
    """A published size."""

    config: Any
    parameters: Mapping[str, float]
    """How many the paper or the release has, by the folder that they are in; "" is the whole model."""
    within: float = 0
    """How far that may be rounded."""
    golden: bool = False
    """Whether every parameter is listed in `tests/golden/FAMILY_SIZE_parameters.txt`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownFamily:
    """One family, and what its laws need to know of it."""

    name: str
    """In file names and in the tests' ids."""
    tiny: Any
    """The config of a float32 model with every part, of a size that compiles in seconds. Where weights are exchanged,
    one that an import gives back: what no file says has its default."""
    sizes: Mapping[str, Size]
    """The published ones by name; the last is the largest."""
    from_input: tuple[str, ...]
    """Patterns of parameters from the input to the output: layer ids rise from each to the next."""
    undecayed: tuple[str, ...] = ()
    """Patterns of parameters without weight decay, beside those of norms and biases."""
    training: Callable[[], TrainConfig] | None = None
    """A run of the family's task with the model `tiny` on synthetic photos."""
    cached: bool = True
    """Whether the program over eight devices may come from the cache. Compiled with the tests' XLA flags and read back,
    one with all-to-all has waited in its collectives for ever (jaxlib 0.10); compiled anew, or with XLA's own flags, it
    never has."""
    begins_with: tuple[str, ...] = ()
    """Other families whose weights that run can begin with."""
    parity: tuple[str, ...] = ()
    """Tests that compare the model with a public one in float32: `tests/parity/test_x.py::test_y`."""
    exchange: Family | None = None
    """Its tables of weights of other codebases."""
    import_options: Mapping[str, Any] = field(default_factory=dict)
    """What an import has to be told of `tiny`, where its arrays do not say."""


def promptable() -> PromptableTraining:
    """Prompts and one refinement: clicks look at where logits cross zero, where rounding can move a pixel."""
    return micro_run(
        SYNTHETIC,
        model=_SAM_TINY,
        prompting=InteractionConfig(corrections=0, refinement=Refinement.LAST),
        loss=LossConfig(loss_size=8),
        batch_size=4,
    )


def masked_images() -> MaskedImageTraining:
    """Four photos a step."""
    return MaskedImageTraining(model=_MAE_TINY, data=PhotoDataConfig(source=SYNTHETIC), steps=6, batch_size=4)


# No file says how much dropout there was.
_SAM_TINY = dataclasses.replace(
    micro_model(), mask_decoder=dataclasses.replace(micro_model().mask_decoder, dropout=MaskDecoderConfig().dropout)
)
_SAM_PROMPTS_AND_MASKS = {"prompt_encoder": 6_220, "mask_decoder": 4_058_340}

# Heads of 64 channels, and a quarter of the patches seen, as an import without a config takes them.
_MAE_TINY = MaeConfig(
    image_size=(32, 32),
    encoder=VitConfig(patch=8, width=128, depth=2, heads=2, mlp_ratio=2, class_token=True, positions=Positions.SIN_COS),
    decoder=MaeDecoderConfig(width=32, depth=2, heads=2),
    visible=4,
    dtype="float32",
)


KNOWN: tuple[KnownFamily, ...] = (
    KnownFamily(
        name="sam",
        tiny=_SAM_TINY,
        sizes={
            "vit_b": Size(
                config=SamConfig.vit_b(),
                parameters={"": 93_735_472, "image_encoder": 89_670_912, **_SAM_PROMPTS_AND_MASKS},
                golden=True,
            ),
            "vit_l": Size(
                config=SamConfig.vit_l(),
                parameters={"": 312_342_832, "image_encoder": 308_278_272, **_SAM_PROMPTS_AND_MASKS},
            ),
            "vit_h": Size(
                config=SamConfig.vit_h(),
                parameters={"": 641_090_608, "image_encoder": 637_026_048, **_SAM_PROMPTS_AND_MASKS},
                golden=True,
            ),
        },
        from_input=("image_encoder/patch_embed/*", "image_encoder/groups/*", "image_encoder/neck/*"),
        undecayed=("image_encoder/position", "*/row_positions", "*/column_positions"),
        training=promptable,
        begins_with=("mae",),
        parity=(
            "tests/parity/test_encoder.py::test_depth_and_neck",
            "tests/parity/test_decoder.py::test_whole_model",
            "tests/parity/test_gradients.py::test_one_round",
        ),
        exchange=SAM,
        import_options={"decoder_heads": _SAM_TINY.mask_decoder.heads},
    ),
    KnownFamily(
        name="mae",
        tiny=_MAE_TINY,
        # Millions as recipes count them (He et al. 2022; positions are fixed and count for nothing).
        sizes={
            "vit_b": Size(
                config=MaeConfig.vit_b(),
                parameters={"encoder": 85.6e6, "decoder": 26.0e6},
                within=0.06e6,
                golden=True,
            ),
            "vit_l": Size(config=MaeConfig.vit_l(), parameters={"encoder": 303.1e6, "decoder": 26.1e6}, within=0.06e6),
            "vit_h": Size(
                config=MaeConfig.vit_h(),
                parameters={"encoder": 630.4e6, "decoder": 26.2e6},
                within=0.06e6,
                golden=True,
            ),
        },
        from_input=("encoder/patch_embed/*", "encoder/groups/*", "decoder/*"),
        training=masked_images,
        cached=False,
        parity=("tests/parity/test_mae.py::test_loss_pixels_and_gradients", "tests/parity/test_mae.py::test_ten_steps"),
        exchange=MAE,
        import_options={"decoder_heads": 2},
    ),
)
