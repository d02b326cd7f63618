"""Segmenter's `variant.yml`: the configuration that its authors' code writes beside a checkpoint.pth."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.core.optional import optional
from samjax.nn.pixels import PixelStatistics

FILE = "variant.yml"
STATISTICS = {"vit": PixelStatistics.HALF, "deit": PixelStatistics.IMAGENET}
"""What photos are normalised with, by the field `normalization`."""
LINEAR, MASK = "linear", "mask_transformer"
_LARGEST = 1 << 16
"""Bytes; the authors' files have two thousand."""


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_rate(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1


def _is_frame(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_is_count(side) for side in value)


_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "image_size": (_is_frame, "a height and a width in pixels"),
    "patch_size": (_is_count, "a count"),
    "d_model": (_is_count, "a count"),
    "n_heads": (_is_count, "a count"),
    "n_layers": (_is_count, "a count"),
    "n_cls": (_is_count, "a count"),
    "distilled": (lambda value: type(value) is bool, "true or false"),
    "normalization": (lambda value: value in [*STATISTICS], " or ".join(STATISTICS)),
    "drop_path_rate": (_is_rate, "a rate below 1"),
    "dropout": (_is_rate, "a rate below 1"),
    "decoder.name": (lambda value: value in [LINEAR, MASK], f"{LINEAR} or {MASK}"),
    "decoder.n_layers": (_is_count, "a count"),
    "decoder.drop_path_rate": (_is_rate, "a rate below 1"),
    "decoder.dropout": (_is_rate, "a rate below 1"),
}
"""Fields of `net_kwargs`, whether a value is possible, and which are, in words."""


def read_variant(folder: Path | None) -> Mapping[str, Any]:
    """Return the fields of `net_kwargs` in the folder's variant.yml, those of the decoder as in `decoder.dropout`.

    None where there is no such file; fields that nothing here depends on are left out.

    Raises:
      UserError: it is no such configuration, or PyYAML is not installed.
    """
    path = None if folder is None else folder / FILE
    if path is None or not path.is_file():
        return {}
    net = _load(path)
    decoder = net.get("decoder", {})
    if not isinstance(decoder, dict):
        raise UserError(f"{path}: net_kwargs.decoder is {decoder!r:.40}, expected fields: give the file as written")
    found = {key: value for key, value in net.items() if isinstance(key, str) and key != "decoder"}
    found |= {f"decoder.{key}": value for key, value in decoder.items()}
    for key, (is_possible, expected) in _FIELDS.items():
        if key in found and not is_possible(found[key]):
            raise UserError(
                f"{path}: net_kwargs.{key} is {found[key]!r:.40}, expected {expected}: correct or remove it"
            )
    return {key: found[key] for key in _FIELDS if key in found}


def _load(path: Path) -> Mapping[str, Any]:
    yaml = optional("yaml", extra="interop")

    class Loader(yaml.SafeLoader):
        """Makes numbers, texts, lists and mappings alone, and tuples, which the authors' files have."""

    Loader.add_constructor(
        "tag:yaml.org,2002:python/tuple", lambda loader, node: tuple(loader.construct_sequence(node))
    )
    size = path.stat().st_size
    if size > _LARGEST:
        raise UserError(f"{path} has {size:,} bytes, expected at most {_LARGEST:,}: move it away")
    try:
        content = yaml.load(path.read_bytes(), Loader)
    except Exception as error:  # of a damaged file YAML's constructors make errors of many types
        first = str(error).partition("\n")[0]
        raise UserError(f"{path} is not plain YAML ({first}): copy it again, or move it away") from error
    net = content.get("net_kwargs") if isinstance(content, dict) else None
    if not isinstance(net, dict):
        raise UserError(f"{path} has no net_kwargs, as Segmenter's authors write them: copy it again, or move it away")
    return net


def check_against(variant: Mapping[str, Any], found: Mapping[str, Any], *, folder: Path | None) -> None:
    """Refuse a variant that contradicts what arrays say, `found` by the same keys.

    Raises:
      UserError: names the key.
    """
    for key, value in found.items():
        if variant.get(key, value) != value:
            raise UserError(
                f"{folder}/{FILE}: net_kwargs.{key} is {variant[key]!r:.40}, but the arrays beside it are of {value!r}"
            )
