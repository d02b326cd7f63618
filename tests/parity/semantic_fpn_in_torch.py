"""Semantic FPN in PyTorch, with mmsegmentation's names (Kirillov et al. 2019): its `FPN` and `FPNHead`."""

import torch
from torch import nn
from torch.nn import functional


class ConvModule(nn.Module):
    """A convolution; with a norm it has no bias, and a ReLU follows."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, norm: bool):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=not norm)
        self.bn = nn.BatchNorm2d(outputs) if norm else None

    def forward(self, x):
        x = self.conv(x)
        return x if self.bn is None else functional.relu(self.bn(x))


class Neck(nn.Module):
    def __init__(self, channels: tuple[int, ...], width: int):
        super().__init__()
        self.lateral_convs = nn.ModuleList(ConvModule(one, width, 1, norm=False) for one in channels)
        self.fpn_convs = nn.ModuleList(ConvModule(width, width, 3, norm=False) for _ in channels)

    def forward(self, maps):
        levels = [convolve(one) for convolve, one in zip(self.lateral_convs, maps, strict=True)]
        for level in reversed(range(len(levels) - 1)):
            size = levels[level].shape[2:]
            levels[level] = levels[level] + functional.interpolate(levels[level + 1], size, mode="nearest")
        return [convolve(level) for convolve, level in zip(self.fpn_convs, levels, strict=True)]


class DecodeHead(nn.Module):
    def __init__(self, pyramid_width: int, width: int, strides: tuple[int, ...], classes: int):
        super().__init__()
        self.scale_heads = nn.ModuleList()
        for stride in strides:
            doublings = (stride // strides[0]).bit_length() - 1
            steps = []
            for step in range(max(1, doublings)):
                steps.append(ConvModule(width if step else pyramid_width, width, 3, norm=True))
                if doublings:
                    steps.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            self.scale_heads.append(nn.Sequential(*steps))
        self.conv_seg = nn.Conv2d(width, classes, 1)

    def forward(self, levels):
        size = levels[0].shape[2:]
        enlarged = [
            functional.interpolate(head(level), size, mode="bilinear", align_corners=False)
            for head, level in zip(self.scale_heads, levels, strict=True)
        ]
        return self.conv_seg(sum(enlarged))


class SemanticFpn(nn.Module):
    """Without dropout, which would draw other numbers."""

    def __init__(
        self, channels: tuple[int, ...], strides: tuple[int, ...], pyramid_width: int, width: int, classes: int
    ):
        super().__init__()
        self.neck = Neck(channels, pyramid_width)
        self.decode_head = DecodeHead(pyramid_width, width, strides, classes)

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        return self.decode_head(self.neck(maps))
