"""The once-for-all CenterNet (Sections 3 and 4.1): OFA-ResNet50, up-convolutions and three heads."""

from collections.abc import Sequence

import numpy as np

from ..errors import ConfigError, is_number, is_whole
from ..host import Mo
from ..precision import single_precision
from ..space import DetectorLayers, SearchSpace
from .backbone import OFAResNet50
from .building import require_known, search_space
from .elastic import RELU, ElasticBatchNorm, ElasticConv, ElasticDeconv, activate, constant, normal, uniform
from .kernels import Window
from .losses import centre_l1_loss, focal_loss
from .weights import transfer_weights

HEADS = {"heatmap": None, "size": 2, "offset": 2}  # channels; the heat map has one a class
HEATMAP_BIAS = -2.19  # σ(−2.19) ≈ 0.1: a fresh network predicts few centres
LOSS_WEIGHTS = (1.0, 0.1, 1.0)  # heat map, size, offset


class UpConvolution(Mo.Module):
    """Transposed convolution, batch normalisation, ReLU: twice the size."""

    def __init__(self, n_in: int, n_out: int, rng: np.random.Generator, *, deviation: float | None):
        super().__init__()
        self.conv = ElasticDeconv(n_in, n_out, rng, deviation=deviation)
        self.bn = ElasticBatchNorm(n_out)

    def call(self, x):
        return self.bn(self.conv(x), ceiling=RELU)


class Head(Mo.Module):
    """3×3 convolution, ReLU, 1×1 convolution, each with a bias.

    Initial weights are upstream's. A head of sizes or offsets is drawn from N(0, `deviation`²), its biases are 0. The
    heat map's, which has a `prior`, keeps PyTorch's default, so that fresh logits are near the prior (a deviation of
    1/6 behind a normalised neck); hotter ones drown the few centres in the losses of all other cells.

    Args:
        deviation: None for He's.
        prior: bias of the last convolution of a heat map; None for the other heads.
    """

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        n_out: int,
        rng: np.random.Generator,
        *,
        deviation: float | None = None,
        prior: float | None = None,
    ):
        super().__init__()
        self._n_hidden, self._n_out = n_hidden, n_out
        window, pointwise = Window(3, 1, 1), Window(1, 1, 0)
        if prior is None:
            weight = None if deviation is None else normal(rng, deviation)
            hidden, output = ({"weight": weight, "bias": constant(0.0)},) * 2
        else:
            of_window = uniform(rng, n_in * window.kernel**2)
            hidden = {"weight": of_window, "bias": of_window}
            output = {"weight": uniform(rng, n_hidden), "bias": constant(prior)}
        self.hidden = ElasticConv(n_in, n_hidden, window, rng, **hidden)
        self.output = ElasticConv(n_hidden, n_out, pointwise, rng, **output)

    def call(self, x):
        return self.output(activate(self.hidden(x, n_out=self._n_hidden), RELU), n_out=self._n_out)


class CenterNet(OFAResNet50):
    """OFA-ResNet50 with CenterNet's neck and heads.

    Args:
        space, only: as in `OFAResNet50`.
        n_classes: object classes.
        neck: channels of the three up-convolutions. head: hidden channels of each head.
        head_deviation: of the normal initial weights of neck, sizes and offsets; None for He's.
        rng: draws the initial weights.
        backbone: the other keywords of `OFAResNet50`.
    """

    @property
    def task(self):
        """Shim."""
        from ..tasks_shim import Task

        return Task("detection")

    last_reader = ("neck/0/conv/_W", 0)

    def __init__(
        self,
        space: SearchSpace,
        *,
        n_classes: int,
        neck: Sequence[int] = (256, 256, 256),
        head: int = 64,
        head_deviation: float | None = 0.001,
        only: np.ndarray | None = None,
        rng: np.random.Generator,
        **backbone,
    ):
        _require_sizes(n_classes, neck, head, head_deviation)
        self._neck, self._head, self.n_classes = tuple(neck), head, n_classes
        self._head_deviation = head_deviation
        self.options = {
            "n_classes": n_classes,
            "neck": neck,
            "head": head,
            "head_deviation": head_deviation,
            **backbone,
        }
        super().__init__(space, only=only, rng=rng, **backbone)
        if not self.output_stride:
            raise ConfigError(f"neck is {neck!r}; so many up-convolutions make maps larger than the image")

    def _build(self, shape, ceiling, last_gamma, rng) -> None:
        super()._build(shape, ceiling, last_gamma, rng)
        widths = (shape.blocks[-1].n_out, *self._neck)
        deviation = self._head_deviation
        self.neck = Mo.ModuleList(
            [UpConvolution(a, b, rng, deviation=deviation) for a, b in zip(widths, self._neck, strict=False)]
        )
        self.heads = Mo.Module()
        for name, n_out in HEADS.items():
            setattr(
                self.heads,
                name,
                Head(
                    widths[-1],
                    self._head,
                    n_out or self.n_classes,
                    rng,
                    deviation=deviation,
                    prior=None if n_out else HEATMAP_BIAS,
                ),
            )

    def call(self, images):
        """Heat-map logits (B, classes, h, w), sizes and offsets (B, 2, h, w) of images (B, 3, S, S)."""
        x = self.features(images)
        for layer in self.neck:
            x = layer(x)
        return tuple(self.batch_first(getattr(self.heads, name)(x)) for name in HEADS)

    @single_precision()
    def loss(self, outputs, targets, loss_weights=None, terms=None):
        """Weighted sum of the three losses, a scalar; `terms` where `metrics` has already built them."""
        terms = terms or self.metrics(outputs, targets)
        return sum(weight * term for weight, term in zip(loss_weights or LOSS_WEIGHTS, terms.values(), strict=True))

    def metrics(self, outputs, targets):
        """The three losses by name (the host's protocol: lower is better)."""
        logits, sizes, offsets = outputs
        heatmap, size, offset, index, mask = targets
        return {
            "heatmap": focal_loss(logits, heatmap),
            "size": centre_l1_loss(sizes, size, index, mask),
            "offset": centre_l1_loss(offsets, offset, index, mask),
        }

    def alone(self, path: np.ndarray) -> "CenterNet":
        """A network of the path's layers alone, with fresh weights."""
        return CenterNet(self.space, only=path, rng=np.random.default_rng(0), **self.options)

    def require_fit(self, loader) -> None:
        """As every network's; the loader's output stride must agree too."""
        super().require_fit(loader)
        if self.output_stride != loader.options.output_stride:
            raise ConfigError(
                f"the network's output stride is {self.output_stride} and dataloader's output_stride is"
                f" {loader.options.output_stride}; they must agree"
            )

    @property
    def output_stride(self) -> int:
        """Input pixels to a cell of the output maps."""
        return (32 if self._stem_pool else 16) >> len(self._neck)

    def target_shapes(self, image_size: int, max_objects: int) -> list[list[int]]:
        """Shapes of one image's targets, in the loaders' order."""
        side = image_size // self.output_stride
        return [[self.n_classes, side, side], [max_objects, 2], [max_objects, 2], [max_objects], [max_objects]]

    def network_layers(self, image_size: int) -> DetectorLayers:
        """Every layer that a path can have at this input size: what costs are made of."""
        return DetectorLayers(
            self.space,
            image_size=image_size,
            n_classes=self.n_classes,
            neck=self._neck,
            head=self._head,
            stem_pool=self._stem_pool,
        )


def _require_sizes(n_classes, neck, head, deviation) -> None:
    """ConfigError where neck or heads cannot be built."""
    widths = list(neck) if isinstance(neck, Sequence) else []
    if not widths or not all(is_whole(n) and n >= 1 for n in (n_classes, head, *widths)):
        raise ConfigError(
            f"n_classes is {n_classes!r}, neck {neck!r} and head {head!r};"
            " each must be a whole number of at least 1, and neck a list of them"
        )
    if deviation is not None and (not is_number(deviation) or deviation < 0):
        raise ConfigError(f"head_deviation is {deviation!r}; it must be a number of at least 0, or null for He's")


class SearchNet(CenterNet):
    """The supernet, as the host builds it from a configuration.

    Args:
        n_classes: object classes.
        space: name and options of the search space.
        pretrained: weights file by the host's names, of a classifier or a detector; see `weights.transfer_weights`.
        seed: of the initial weights.
        options: the other keywords of `CenterNet` and `OFAResNet50`.
    """

    def __init__(self, n_classes: int, *, space: dict | None = None, pretrained=None, seed: int = 0, **options):
        require_known(CenterNet, options)
        super().__init__(search_space(space), n_classes=n_classes, rng=np.random.default_rng(seed), **options)
        if pretrained:
            self.transfer = transfer_weights(self, pretrained)


class TrainNet(CenterNet):
    """One path as a network of its own, with that path's layers alone; `genotype` is the host's {"d", "e", "w"}."""

    def __init__(
        self, n_classes: int, *, genotype, space: dict | None = None, pretrained=None, seed: int = 0, **options
    ):
        require_known(CenterNet, options)
        whole = search_space(space)
        path = whole.from_genotype(genotype)
        super().__init__(whole, n_classes=n_classes, only=path, rng=np.random.default_rng(seed), **options)
        if pretrained:
            self.transfer = transfer_weights(self, pretrained)
