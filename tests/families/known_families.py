"""Every family of models, as the laws of `test_families.py` try it. A new family is one more entry of `KNOWN`."""

import dataclasses

from dense_families import DENSE
from helpers.micro import micro_model, micro_run
from known_family import SYNTHETIC, KnownFamily, Size
from set_families import SETS

from samjax.data.photo_data import PhotoDataConfig
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
        begins_with=("mae", *(family.name for family in DENSE)),
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
    *DENSE,
    *SETS,
)
