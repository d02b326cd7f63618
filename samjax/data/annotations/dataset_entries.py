"""The table of named data sets: see `named`."""

from samjax.data.annotations.dataset_entry import NamedDataset, Part
from samjax.data.annotations.formats import Format, FormatOptions, Objects


def _coco(annotations: str = "annotations.json", photos: str = "photos") -> Part:
    return Part(format=Format.COCO, annotations=annotations, photos=photos)


def _maps(annotations: str, photos: str, options: FormatOptions | None = None) -> Part:
    options = options or FormatOptions()
    return Part(format=Format.LABEL_MAPS, annotations=annotations, photos=photos, options=options)


_AS_COCO = "write its masks as COCO's JSON to annotations.json, file names under photos/"
_LEAVES = FormatOptions(photo_suffix="_rgb.png", map_suffix="_label.png")

_ENTRIES = (
    NamedDataset(
        key="ade20k",
        title="ADE20K",
        split="validation",
        photos=302,
        masks=10_128,
        url="https://groups.csail.mit.edu/vision/datasets/ADE20K/",
        parts=(
            Part(
                format=Format.INSTANCE_PNGS,
                annotations="images/ADE/validation",
                photos="images/ADE/validation",
                options=FormatOptions(photo_suffix=".jpg", masks_from=("instance_",)),
            ),
        ),
        root="ADE20K_2021_17_01, the full data set with objects and parts",
    ),
    NamedDataset(
        key="bbbc038",
        title="BBBC038v1",
        split="train",
        photos=227,
        masks=10_506,
        url="https://bbbc.broadinstitute.org/BBBC038",
        parts=(Part(format=Format.INSTANCE_PNGS, annotations="stage1_train"),),
        root="the folder that stage1_train.zip was unpacked to stage1_train in",
    ),
    NamedDataset(
        key="cityscapes",
        title="Cityscapes",
        split="validation",
        photos=293,
        masks=9_973,
        url="https://www.cityscapes-dataset.com/",
        parts=(
            Part(
                format=Format.PANOPTIC,
                annotations="gtFine/cityscapes_panoptic_val.json",
                photos="leftImg8bit/val",
                options=FormatOptions(photo_suffix="_leftImg8bit.png"),
            ),
        ),
        root="the folder of gtFine and leftImg8bit",
        bring="make the panoptic JSON and PNGs with csCreatePanopticImgs of the package cityscapesscripts",
    ),
    NamedDataset(
        key="doors",
        title="DOORS",
        split="DS1",
        photos=10_000,
        masks=10_000,
        url="https://zenodo.org/record/7107409",
        parts=tuple(
            _maps(f"Regression/{folder}/Rock_all", f"Regression/{folder}/img", FormatOptions(objects=Objects.WHOLE))
            for folder in ("Te1_5000_b_2022-08-02 11.16.00", "Te2_5000_ub_2022-08-02 11.16.11")
        ),
        root="the folder of Regression",
    ),
    NamedDataset(
        key="dram",
        title="DRAM",
        split="test",
        photos=718,
        masks=1_179,
        url="https://faculty.runi.ac.il/arik/site/artseg/Dram-Dataset.html",
        parts=(_maps("labels", "test", FormatOptions(ignore=255)),),
        root="the folder of test, with the paintings, and labels, with their maps of classes under the same names",
    ),
    NamedDataset(
        key="egohos",
        title="EgoHOS",
        split="train, Ego4D and THU-READ only",
        photos=2_940,
        masks=9_961,
        url="https://github.com/owenzlz/EgoHOS",
        parts=(_maps("train/label", "train/image", FormatOptions(photos_from=("ego4d", "thu"))),),
        root="the folder of train; photos of Ego4D and THU-READ must begin with ego4d and thu",
    ),
    NamedDataset(
        key="gtea",
        title="GTEA",
        split="train, hands",
        photos=652,
        masks=1_208,
        url="https://cbs.ic.gatech.edu/fpv/",
        parts=(_maps("Masks", "Images", FormatOptions(objects=Objects.CONNECTED)),),
        root="the folder of Images and Masks; each connected part of a mask is taken for a hand",
    ),
    NamedDataset(
        key="hypersim",
        title="Hypersim",
        split="Evermotion archinteriors volumes 1-55 without 20, 25, 40 and 49",
        photos=338,
        masks=9_445,
        url="https://github.com/apple/ml-hypersim",
        parts=(_maps("instances", "photos"),),
        root="a folder with photos and instances",
        bring="write each semantic_instance.hdf5 of these volumes as a PNG of 16 bits, -1 as 0, to instances/, and its "
        "tonemapped frame under the same name to photos/",
    ),
    NamedDataset(
        key="ibd",
        title="InstanceBuilding 2D",
        split="train, 2D annotations",
        photos=467,
        masks=11_953,
        url="https://californiachen.github.io/datasets/InstanceBuilding",
        parts=(_coco(),),
        root="a folder with annotations.json and photos",
        bring=_AS_COCO,
    ),
    NamedDataset(
        key="ishape",
        title="iShape",
        split="validation",
        photos=754,
        masks=9_742,
        url="https://ishape.github.io/",
        parts=tuple(
            _coco(f"{shape}/val/coco_format-mask_encoding=rle-instances_2017.json", f"{shape}/val/image")
            for shape in ("antenna", "branch", "fence", "hanger", "log", "wire")
        ),
        root="ishape_dataset",
    ),
    NamedDataset(
        key="lvis",
        title="LVIS v0.5",
        split="validation",
        photos=945,
        masks=9_642,
        url="https://www.lvisdataset.org/",
        parts=(_coco("lvis_v0.5_val.json", "val2017"),),
        root="a folder with lvis_v0.5_val.json and COCO's val2017",
    ),
    NamedDataset(
        key="ndd20",
        title="NDD20",
        split="all",
        photos=4_402,
        masks=6_100,
        url="https://doi.org/10.25405/data.ncl.c.4982342",
        parts=(_coco("above.json", "ABOVE"), _coco("below.json", "BELOW")),
        root="the folder of ABOVE and BELOW",
        bring="write ABOVE_LABELS.json and BELOW_LABELS.json as COCO's JSON to above.json and below.json",
    ),
    NamedDataset(
        key="ndispark",
        title="NDISPark",
        split="train",
        photos=111,
        masks=2_577,
        url="https://zenodo.org/record/6560823",
        parts=(_coco("train/train_coco_annotations.json", "train/imgs"),),
        root="ndis_park",
    ),
    NamedDataset(
        key="ovis",
        title="OVIS",
        split="train",
        photos=2_044,
        masks=10_011,
        url="http://songbai.site/ovis/",
        parts=(_coco("annotations.json", "train"),),
        root="the folder of train",
        bring="write annotations_train.json, of videos, as COCO's JSON of their frames to annotations.json",
    ),
    NamedDataset(
        key="ppdls",
        title="Plant Phenotyping Datasets, leaf segmentation",
        split="all",
        photos=182,
        masks=2_347,
        url="https://www.plant-phenotyping.org/datasets-home",
        parts=tuple(_maps(f"Plant/{plants}", f"Plant/{plants}", _LEAVES) for plants in ("Ara2012", "Tobacco")),
        root="Plant_Phenotyping_Datasets; Ara2012 and Tobacco have as many photos as the paper counts",
    ),
    NamedDataset(
        key="plittersdorf",
        title="Plittersdorf",
        split="train, validation and test",
        photos=187,
        masks=546,
        url="https://timm.haucke.xyz/datasets/plittersdorf",
        parts=tuple(_coco(f"{split}.json", "images") for split in ("train", "val", "test")),
        root="the folder of images, train.json, val.json and test.json",
    ),
    NamedDataset(
        key="streets",
        title="STREETS",
        split="all",
        photos=819,
        masks=9_854,
        url="https://databank.illinois.edu/datasets/IDB-3671567",
        parts=(_coco(),),
        root="a folder with annotations.json and photos",
        bring=_AS_COCO,
    ),
    NamedDataset(
        key="timberseg",
        title="TimberSeg 1.0",
        split="all",
        photos=220,
        masks=2_487,
        url="https://data.mendeley.com/datasets/y5npsm3gkj",
        parts=(_coco("prescaled/coco_annotation_rotated.json", "prescaled"),),
        root="the folder of prescaled",
    ),
    NamedDataset(
        key="trashcan",
        title="TrashCan 1.0",
        split="train, instance task",
        photos=5_936,
        masks=9_540,
        url="https://conservancy.umn.edu/handle/11299/214865",
        parts=(_coco("instance_version/instances_train_trashcan.json", "instance_version/train"),),
        root="the folder of instance_version",
    ),
    NamedDataset(
        key="visor",
        title="EPIC-KITCHENS VISOR",
        split="validation",
        photos=1_864,
        masks=10_141,
        url="https://epic-kitchens.github.io/VISOR/",
        parts=(_coco("annotations.json", "rgb_frames/val"),),
        root="GroundTruth-SparseAnnotations",
        bring="write the polygons of annotations/val as COCO's JSON to annotations.json",
    ),
    NamedDataset(
        key="woodscape",
        title="WoodScape",
        split="set 1",
        photos=107,
        masks=10_266,
        url="https://woodscape.valeo.com/home",
        parts=(_coco("annotations.json", "rgb_images"),),
        root="the folder of rgb_images",
        bring="write the polygons of instance_annotations as COCO's JSON to annotations.json",
    ),
    NamedDataset(
        key="pidray",
        title="PIDRay",
        split="test, hard",
        photos=3_733,
        masks=8_892,
        url="https://github.com/bywang2018/security-dataset",
        parts=(_coco("annotations/xray_test_hard.json", "hard"),),
        root="pidray",
    ),
    NamedDataset(
        key="zerowaste-f",
        title="ZeroWaste-f",
        split="train",
        photos=2_947,
        masks=6_155,
        url="http://ai.bu.edu/zerowaste/",
        parts=(_coco("train/labels.json", "train/data"),),
        root="the folder of train",
    ),
)

ENTRIES = {entry.key: entry for entry in _ENTRIES}
"""By key."""
