"""A plain ViT in PyTorch, by timm's names: what classifiers of ImageNet compute before their head."""

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens):
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens):
        return self.fc2(functional.gelu(self.fc1(tokens)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn, self.mlp = Attention(width, heads), Mlp(width)

    def forward(self, tokens):
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class Patches(nn.Module):
    def __init__(self, width: int, patch: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)


class Vit(nn.Module):
    """With drawn weights; `distilled` adds DeiT's second token and classifier."""

    def __init__(self, *, width: int, heads: int, depth: int, patch: int, side: int, distilled: bool = False):
        super().__init__()
        tokens = 1 + distilled
        self.patch_embed = Patches(width, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        if distilled:
            self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
            self.head_dist = nn.Linear(width, 10)
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens + side**2, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width, 1e-6), nn.Linear(width, 10)
        self.tokens, self.side = tokens, side
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for key, weight in self.named_parameters():
                scale = 0.1 if weight.ndim == 2 else 0.3  # attention spreads: every token counts
                noise = scale * torch.randn(weight.shape, generator=generator)
                weight.copy_(noise + (weight.ndim == 1 and "norm" in key and key.endswith("weight")))

    def forward(self, image, size: tuple[int, int], *, tokens: int):
        """Return the map [b d h w] after each block, and the last one's after the norm, of photos of `size` patches.

        Positions are resized bilinearly; `tokens` of the learned tokens attend.
        """
        places = self.pos_embed[:, self.tokens :].unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
        places = functional.interpolate(places, size, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)
        own = [self.cls_token, *([self.dist_token] if self.tokens == 2 else [])][:tokens]
        own = [one + self.pos_embed[:, number] for number, one in enumerate(own)]
        x = self.patch_embed.proj(image).flatten(2).transpose(1, 2) + places
        x = torch.cat([*(one.expand(len(x), -1, -1) for one in own), x], dim=1)
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        maps.append(self.norm(x))
        return [one[:, tokens:].transpose(1, 2).unflatten(2, size) for one in maps]
