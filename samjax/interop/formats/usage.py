"""How to load each format's folder: the code on its card."""

from samjax.interop.card import Use
from samjax.interop.formats.onnx.model import OnnxOptions
from samjax.interop.formats.segment_anything import file_name, program
from samjax.models.sam.sam import SamConfig

_PROMPTS = """\
# A click per object: its place in the frame, (x, y), and its label. Labels: 1 foreground, 0 background; 2 and 3 a box's
# top left and bottom right corner; -1 fills up, and goes once with the prompts of each object that has no box.
prompts = dict(
    coords=np.array([[[[{x}, {y}], [0, 0]]]], np.float32),
    labels=np.array([[[1, -1]]], np.int32),
    valid=np.array([[[True, True]]]),  # False: not there at all
    mask_logits=np.zeros((1, 1, {low}), np.float32),  # of an earlier round, where has_mask
    has_mask=np.array([[False]]),
)
"""

_PHOTO_SIZE = """\
photo_size = np.array([900, 640], np.int32)  # (height, width) of the photo itself, one for all photos of a call
"""

_PHOTO_OUTPUT = """\
# masks [images, masks, 4, height, width] are the same logits at the photo's size.
"""

_OUTPUTS = """\
# logits [images, masks, 4, {low}], positive inside; iou [images, masks, 4], the model's own estimate. Of the four, 0 is
# for several prompts and 1 to 3 are the candidates for one.
"""


def huggingface_use(model: SamConfig) -> Use:
    """Return what the card says of a folder for transformers."""
    return Use(
        library="transformers",
        files="For `transformers`, in this folder. The mask decoder's norms have the release's epsilon, 1e-5.",
        python="""\
import torch
from PIL import Image
from transformers import SamModel, SamProcessor

model, processor = SamModel.from_pretrained("."), SamProcessor.from_pretrained(".")
inputs = processor(Image.open("photo.jpg").convert("RGB"), input_points=[[[450, 600]]], return_tensors="pt")
with torch.no_grad():
    outputs = model(**inputs)
masks = processor.post_process_masks(outputs.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"])
""",
    )


def segment_anything_use(model: SamConfig) -> Use:
    """Return what the card says of a file for the released code."""
    return Use(
        library="segment-anything",
        files=f"`{file_name(model)}` is a state dict for the released `segment_anything`, loaded strictly.",
        python=program(model),
    )


def stablehlo_use(model: SamConfig) -> Use:
    """Return what the card says of exported JAX functions."""
    return Use(
        library="jax",
        files="StableHLO by `jax.export`, for CPUs, TPUs and NVIDIA GPUs, in float32, for any number of images, "
        "masks and prompt slots from 1 up. `encoder.stablehlo` and `decoder.stablehlo` are functions of their weights, "
        "in the safetensors beside them, and of a photo or prompts. JAX, flatbuffers and safetensors load them, "
        "without samjax.",
        python=f"""\
import functools

import jax
import numpy as np
from jax import export
from safetensors.numpy import load_file


def load(half):
    with open(f"{{half}}.stablehlo", "rb") as file:
        call = jax.jit(export.deserialize(file.read()).call)
    return functools.partial(call, jax.device_put(load_file(f"{{half}}.safetensors")))


encoder, decoder = load("encoder"), load("decoder")

{_photo(model)}
{_prompts(model)}
embedding = encoder(image, valid_size)["embedding"]
masks = decoder(embedding, *prompts.values())
{_outputs(model)}""",
    )


def onnx_use(model: SamConfig, options: OnnxOptions) -> Use:
    """Return what the card says of ONNX models."""
    data = "`encoder.onnx.data` and `decoder.onnx.data` hold the weights: keep them beside the models, by these names."
    sizes, asked, results = "", "{**named}", '"logits", "iou"'
    if options.photo_masks:
        sizes = _PHOTO_SIZE
        asked, results = '{**named, "valid_size": valid_size[0], "photo_size": photo_size}', '"masks", "iou"'
    return Use(
        library="onnx",
        files="ONNX in float32, for any number of images, masks and prompt slots from 1 up. "
        + ("Weights are in the models' own files." if options.single_file else data)
        + (" The decoder brings its masks to the photo's size." if options.photo_masks else ""),
        python=f"""\
import numpy as np
import onnxruntime

encoder, decoder = (onnxruntime.InferenceSession(f"{{half}}.onnx") for half in ("encoder", "decoder"))

{_photo(model)}
{_prompts(model)}
(embedding,) = encoder.run(["embedding"], {{"image": image, "valid_size": valid_size}})
named = {{"embedding": embedding, **prompts}}
{sizes}{results.replace('"', "")} = decoder.run([{results}], {asked})
{_outputs(model)}{_PHOTO_OUTPUT if options.photo_masks else ""}""",
    )


def _photo(model: SamConfig) -> str:
    height, width = model.image_size
    return f"""\
# A photo's RGB pixels, scaled to fit {height} x {width} and put in the top left corner of zeros; their size there.
image = np.zeros((1, {height}, {width}, 3), np.uint8)
valid_size = np.array([[{height}, {width}]], np.int32)
"""


def _prompts(model: SamConfig) -> str:
    height, width = model.image_size
    return _PROMPTS.format(x=width // 2, y=height // 2, low=_low(model))


def _outputs(model: SamConfig) -> str:
    return _OUTPUTS.format(low=_low(model))


def _low(model: SamConfig) -> str:
    return f"{model.logits_size[0]}, {model.logits_size[1]}"
