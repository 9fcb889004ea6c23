"""What is trained in each stage: encoder and global head, decoder and local head, the whole network."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from core.distributed import across_ranks
from core.encoders.unet import UNet, UNetEncoder
from core.errors import ConfigError
from core.learning.module import ContrastiveModule
from core.objectives import nt_xent
from medical.mri.augment import mixup
from medical.mri.dice import dice_ce_loss, dice_loss
from medical.mri.global_loss import gd, gd_minus, gd_official
from medical.mri.learn.batches import Batch
from medical.mri.local_loss import ld, lr
from medical.mri.positional import pcl
from medical.mri.regions import Regions

GlobalKind = Literal["gr", "gd-", "gd", "gd-official", "pcl"]
GLOBAL_KINDS = get_args(GlobalKind)
LocalKind = Literal["lr", "ld"]
LossKind = Literal["dice", "dice_ce"]


class GlobalPretraining(ContrastiveModule):
    """Stage 1: the encoder and g1, by GR, GD-, GD (canonical, or as the published code has it) or PCL.

    Args:
        encoder, head: see `medical.mri.model`.
        kind: the loss.
        temperature: of the loss.
        threshold: of PCL, in shares of the volume's depth. base_temperature: of PCL, which it multiplies by
            temperature / base_temperature.
        parts: slices a volume in a batch, for gd-official.
        **optimization: of `core.learning.module.ContrastiveModule`.
    """

    def __init__(
        self,
        encoder: UNetEncoder,
        head: nn.Module,
        *,
        kind: GlobalKind = "gd",
        temperature: float = 0.1,
        threshold: float = 0.1,
        base_temperature: float | None = None,
        parts: int = 4,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        if kind not in GLOBAL_KINDS:
            raise ConfigError("global loss", seen=kind, expected=f"one of {', '.join(GLOBAL_KINDS)}")
        self.encoder, self.head, self.parts = encoder, head, parts
        self.kind, self.temperature, self.threshold = kind, temperature, threshold
        self.base_temperature = base_temperature

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        used = {"gd-": slice(3), "gd": slice(3), "gd-official": slice(2)}
        views = batch["views"][used.get(self.kind, slice(1, 3))]
        count = views.shape[1]
        rows = self.head(self.encoder.features(views.flatten(0, 1)))
        x, y = rows[-2 * count : -count], rows[-count:]
        self.watch(x, y)
        options: dict[str, Any] = {"temperature": self.temperature}
        if self.kind == "gr":
            loss = across_ranks(nt_xent, x, y, **options)
        elif self.kind == "pcl":
            places = {"position": batch["position"]}
            options |= {"threshold": self.threshold, "base_temperature": self.base_temperature}
            loss = across_ranks(pcl, torch.stack([x, y], 1), rows=places, **options)
        elif self.kind == "gd-official":
            loss = across_ranks(gd_official, x, y, parts=self.parts, **options)
        elif self.kind == "gd-":
            loss = across_ranks(
                gd_minus, rows[:count], x, y, rows={"partition": batch["partition"]}, **options
            )
        else:
            where = {"partition": batch["partition"], "volume": batch["volume"]}
            loss = across_ranks(gd, rows[:count], x, y, rows=where, **options)
        return {"loss": loss}


class LocalPretraining(ContrastiveModule):
    """Stage 2: the first decoder blocks and g2, by LR or LD; the encoder stays as it is, batch norms too.

    Args:
        net: with the encoder of stage 1.
        head: g2.
        regions: of the map after ``blocks`` decoder blocks.
        parts: slices a volume in a batch, for LD.
        kernel: side of a region.
        projection_dim: width of a learned projection of the regions, without bias; None for none.
    """

    def __init__(
        self,
        net: UNet,
        head: nn.Module,
        regions: Regions,
        *,
        blocks: int,
        parts: int,
        kind: LocalKind = "lr",
        kernel: int = 3,
        temperature: float = 0.1,
        projection_dim: int | None = None,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        if kind not in ("lr", "ld"):
            raise ConfigError("local loss", seen=kind, expected="lr or ld")
        self.net, self.head, self.regions = net, head, regions
        self.blocks, self.parts, self.kind = blocks, parts, kind
        self.kernel, self.temperature = kernel, temperature
        net.requires_grad_(False)
        for index in range(1, blocks + 1):
            net.decoder.get_submodule(f"block{index}").requires_grad_(True)
        self.projection: nn.Parameter | None = None
        if projection_dim is not None:
            layers: Any = head
            flat = kernel * kernel * layers.dim
            self.projection = nn.Parameter(torch.randn(flat, projection_dim) / flat**0.5)

    def train(self, mode: bool = True) -> LocalPretraining:
        """Train mode for what is trained; the encoder and the later blocks stay in eval mode."""
        super().train(mode)
        self.net.eval()
        for index in range(1, self.blocks + 1):
            self.net.decoder.get_submodule(f"block{index}").train(mode)
        return self

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        views = batch["views"]
        with torch.no_grad():
            maps = self.net.encoder.levels(views.flatten(0, 1))
        first, second = self.head(self.net.decoder(maps, self.blocks)).chunk(2)
        stride = max(1, first.shape[2] // 4)  # places of an image are to differ, images need not
        self.watch(
            *(
                maps[:, :, ::stride, ::stride].flatten(2).transpose(1, 2).flatten(0, 1)
                for maps in (first, second)
            )
        )
        options: dict[str, Any] = {
            "kernel": self.kernel,
            "projection": self.projection,
            "temperature": self.temperature,
        }
        if self.kind == "lr":
            return {"loss": across_ranks(lr, first, second, regions=self.regions, **options)}
        return {"loss": across_ranks(ld, first, second, regions=self.regions, parts=self.parts, **options)}


class FineTuning(ContrastiveModule):
    """Stage 3: the whole network, by a Dice loss; with Mixup where ``mixup_alpha`` is not None.

    Args:
        net: (B, 1, H, W) -> (B, classes, H, W) logits.
        loss: ``dice`` as published, or ``dice_ce``, see `medical.mri.dice`.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        classes: int,
        loss: LossKind = "dice_ce",
        mixup_alpha: float | None = None,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        if loss not in ("dice", "dice_ce"):
            raise ConfigError("fine-tuning loss", seen=loss, expected="dice or dice_ce")
        self.net, self.classes, self.mixup_alpha = net, classes, mixup_alpha
        self.loss = _dice_loss if loss == "dice" else _dice_ce_loss

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        image, label = batch["image"], batch["label"]
        if self.mixup_alpha is not None:
            shares = one_hot(label, self.classes).permute(0, 3, 1, 2).to(image.dtype)
            image, label = mixup(image, shares, alpha=self.mixup_alpha)
        return {"loss": across_ranks(self.loss, self.net(image), label)}


def _dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Distributed: none."""
    return dice_loss(logits, target)


def _dice_ce_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Distributed: none."""
    return dice_ce_loss(logits, target)
