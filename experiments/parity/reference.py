"""CenterNet on MIT's OFA-ResNet50 in PyTorch, from the definitions: what our detector is compared with.

    .venv-peers/bin/python -m experiments.parity.reference TASK FOLDER

The backbone is the package `ofa`; neck, heads, losses and decoding follow Objects as Points (Zhou et al., 2019),
average precision PASCAL VOC 2007. It shares no code with ours. TASK is a function of this file that turns the arrays
and options of FOLDER/ask.npz into the arrays of FOLDER/answer.npz.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from experiments.benchmarks.peers.ofa_tasks import OFAResNets

from .exchange import Arrays, group, prefixed, read, write

LOSS_WEIGHTS = {"heatmap": 1.0, "size": 0.1, "offset": 1.0}
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


class CenterNet(nn.Module):
    """Logits of the heat map, sizes and offsets at a quarter of the image's size."""

    def __init__(self, n_classes: int, neck: list[int], head: int, width_scale: float, channel_divisor: int) -> None:
        from ofa.utils import MyNetwork  # late: OFAResNets' module has to stand in for torchvision first

        super().__init__()
        MyNetwork.CHANNEL_DIVISIBLE = channel_divisor
        self.backbone = OFAResNets(
            depth_list=[0, 1, 2],
            expand_ratio_list=[0.2, 0.25, 0.35],
            width_mult_list=[width * width_scale for width in (0.65, 0.8, 1.0)],
        )
        widths = [self.backbone.classifier.linear.linear.in_features, *neck]
        self.backbone.global_avg_pool = self.backbone.classifier = nn.Identity()
        self.neck = nn.ModuleList([up_convolution(a, b) for a, b in zip(widths, neck, strict=False)])
        self.heads = nn.ModuleDict(
            {
                name: prediction_head(neck[-1], head, n)
                for name, n in (("heatmap", n_classes), ("size", 2), ("offset", 2))
            }
        )

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.backbone(images)
        for layer in self.neck:
            x = layer(x)
        return {name: head(x) for name, head in self.heads.items()}

    def load(self, weights: Arrays) -> None:
        """All weights and running statistics; RuntimeError where one is missing or left over."""
        counts = {name: value for name, value in self.state_dict().items() if name.endswith("num_batches_tracked")}
        self.load_state_dict({**counts, **{name: torch.from_numpy(value) for name, value in weights.items()}})


class ElasticUp(nn.ConvTranspose2d):
    """Transposed convolution of as many channels as there are, with the weight's leading ones, as OFA's layers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv_transpose2d(x, self.weight[: x.shape[1]], stride=self.stride, padding=self.padding)


def up_convolution(n_in: int, n_out: int) -> nn.Sequential:
    """Twice the size."""
    return nn.Sequential(
        OrderedDict(
            conv=ElasticUp(n_in, n_out, kernel_size=4, stride=2, padding=1, bias=False),
            bn=nn.BatchNorm2d(n_out, momentum=0.1),
            relu=nn.ReLU(),
        )
    )


def prediction_head(n_in: int, n_hidden: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            hidden=nn.Conv2d(n_in, n_hidden, kernel_size=3, padding=1),
            relu=nn.ReLU(),
            output=nn.Conv2d(n_hidden, n_out, kernel_size=1),
        )
    )


def initialise(network: CenterNet) -> None:
    """OFA's He by fan-out for the backbone; N(0, .001²) and biases 0 for neck and heads, but for the heat map's.

    That one keeps PyTorch's own, uniform within 1 / √fan-in, and its last bias expects centres in a tenth of the cells.
    """
    for layer in network.backbone.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    for layer in network.neck:
        nn.init.normal_(layer.conv.weight, std=0.001)
    for name in ("size", "offset"):
        for layer in (network.heads[name].hidden, network.heads[name].output):
            nn.init.normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)
    nn.init.constant_(network.heads["heatmap"].output.bias, -2.19)


class Gate(nn.Module):
    """Stands for every ReLU: lets through what the next mask (B, C, h, w) does, whatever the sign."""

    masks: Iterator[np.ndarray]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.from_numpy(next(self.masks))


class Choice(nn.Module):
    """Stands for the max-pooling: takes, of each window, what is largest in another map (B, C, h, w)."""

    other: np.ndarray

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, chosen = F.max_pool2d(torch.from_numpy(self.other), 3, stride=2, padding=1, return_indices=True)
        return x.flatten(2).gather(2, chosen.flatten(2)).view(chosen.shape)


def with_kinks(network: CenterNet) -> tuple[Gate, Choice]:
    """Have the network stand, wherever it has no derivative, on the side that it is told."""
    gate, choice = Gate(), Choice()
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, gate)
    network.backbone.max_pooling = choice
    return gate, choice


# -- losses -----------------------------------------------------------------------------------------------------------


def focal_loss(logits: torch.Tensor, heatmap: torch.Tensor) -> torch.Tensor:
    """Equation 1 of the paper, α = 2 and β = 4."""
    p = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    centre = heatmap == 1
    terms = torch.where(centre, (1 - p) ** 2 * p.log(), (1 - heatmap) ** 4 * p**2 * (1 - p).log())
    return -terms.sum() / max(int(centre.sum()), 1)


def l1_loss(maps: torch.Tensor, wanted: torch.Tensor, index: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Equations 2 and 3: at the centres alone, over both coordinates of all objects."""
    at_centres = maps.flatten(2).gather(2, index[:, None].expand(-1, 2, -1))
    errors = (at_centres - wanted.transpose(1, 2)).abs() * mask[:, None]
    return errors.sum() / (2 * mask.sum() + 1e-4)


def losses(maps: dict[str, torch.Tensor], targets: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    heatmap, size, offset, index, mask = targets
    return {
        "heatmap": focal_loss(maps["heatmap"], heatmap),
        "size": l1_loss(maps["size"], size, index.long(), mask),
        "offset": l1_loss(maps["offset"], offset, index.long(), mask),
    }


class Training:
    """Adam on one batch after another."""

    def __init__(self, network: CenterNet, precision: torch.dtype, rate: float) -> None:
        self.network, self._precision = network.to(precision).train(), precision
        self._adam = torch.optim.Adam(network.parameters(), lr=rate)

    def step(self, images: np.ndarray, targets: list[np.ndarray], epsilon: float = 1e-8) -> tuple[dict, dict]:
        """Maps and losses before the update; the gradient stays with the parameters."""
        self._adam.param_groups[0]["eps"] = epsilon
        maps = self.network(torch.from_numpy(images).to(self._precision))
        terms = losses(maps, [torch.from_numpy(target).to(self._precision) for target in targets])
        self._adam.zero_grad()
        sum(LOSS_WEIGHTS[name] * term for name, term in terms.items()).backward()
        self._adam.step()
        return maps, terms


# -- decoding and average precision -----------------------------------------------------------------------------------


def decode(maps: dict[str, torch.Tensor], top: int = 100) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes (B, K, 4) in cells, labels and scores (B, K) of the highest peaks: of each class first, then of all."""
    heat = maps["heatmap"].sigmoid()
    heat = heat * (heat == F.max_pool2d(heat, 3, stride=1, padding=1))
    width = heat.shape[3]
    scores, cells = heat.flatten(2).topk(top)
    scores, place = scores.flatten(1).topk(top)
    cells = cells.flatten(1).gather(1, place)
    size, offset = (
        maps[name].flatten(2).gather(2, cells[:, None].expand(-1, 2, -1)).transpose(1, 2) for name in ("size", "offset")
    )
    centres = torch.stack([cells % width, cells // width], dim=2) + offset
    return torch.cat([centres - size / 2, centres + size / 2], dim=2), place // top, scores


def voc_ap(detections: Arrays, truth: Arrays, label: int) -> float:
    """PASCAL VOC 2007's eleven-point average precision at IoU .5 of one class; difficult objects do not count."""
    objects: dict[int, list[list]] = {}
    for image, box, difficult in zip(*(truth[key][truth["label"] == label] for key in ("image", "box", "difficult"))):  # noqa: B905
        objects.setdefault(int(image), []).append([box.tolist(), bool(difficult), False])
    positives = sum(not difficult for found in objects.values() for _, difficult, _ in found)
    chosen = np.flatnonzero(detections["label"] == label)
    right, wrong, curve = 0, 0, []
    for row in chosen[np.argsort(-detections["score"][chosen], kind="stable")]:
        best, nearest = 0.5, None
        for one in objects.get(int(detections["image"][row]), []):
            overlap = inclusive_iou(detections["box"][row].tolist(), one[0])
            if overlap > best or (overlap == best and nearest is None):
                best, nearest = overlap, one
        if nearest is not None and nearest[1]:
            continue
        if nearest is not None and not nearest[2]:
            nearest[2], right = True, right + 1
        else:
            wrong += 1
        curve.append((right / positives, right / (right + wrong)))
    levels = [k / 10 for k in range(11)]
    return sum(max((p for recall, p in curve if recall >= level), default=0) for level in levels) / 11


def inclusive_iou(a: list[float], b: list[float]) -> float:
    """Of boxes whose last pixel belongs to them."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


# -- tasks ------------------------------------------------------------------------------------------------------------


def initial(arrays: Arrays, options: dict) -> Arrays:  # noqa: ARG001
    """Weights drawn as upstream draws them."""
    torch.manual_seed(options["seed"])
    network = CenterNet(**options["network"])
    initialise(network)
    return {name: value for name, value in arrays_of(network.state_dict()).items() if not name.endswith("_tracked")}


def steps(arrays: Arrays, options: dict) -> Arrays:
    """Of a path, in both precisions: maps, losses and gradient of the first step, and the change of all after some."""
    answer: Arrays = {}
    targets = list(group(arrays, "targets").values())
    for precision, dtype in PRECISIONS.items():
        network = loaded(arrays, options)
        before, training = floats_of(network), Training(network, dtype, options["rate"])
        for step in range(options["steps"]):
            maps, terms = training.step(arrays["images"], targets)
            if step == 0:
                found = {"maps": arrays_of(maps), "losses": arrays_of(terms), "gradient": gradient_of(network)}
        found["change"] = change_of(network, before)
        for name, values in found.items():
            answer |= prefixed(f"{precision}/{name}", values)
    return answer


def held(arrays: Arrays, options: dict) -> Arrays:
    """Gradient and change as `steps` has them, in double precision, with our side of every kink and NNabla's ε."""
    network = loaded(arrays, options)
    before = floats_of(network)
    gate, choice = with_kinks(network)
    training = Training(network, torch.float64, options["rate"])
    targets = list(group(arrays, "targets").values())
    for step in range(options["steps"]):
        gate.masks = iter(group(arrays, f"masks/{step}").values())
        choice.other = arrays[f"pooled/{step}"]
        training.step(arrays["images"], targets, epsilon=1e-8 / (1 - 0.999 ** (step + 1)) ** 0.5)
        if step == 0:
            answer = prefixed("gradient", gradient_of(network))
    return answer | prefixed("change", change_of(network, before))


def curve(arrays: Arrays, options: dict) -> Arrays:
    """The losses (steps, 3) of training, with a path and a batch of its own for each step."""
    training = Training(loaded(arrays, options), torch.float32, options["rate"])
    targets, found = list(group(arrays, "targets").values()), []
    for step, (genotype, images) in enumerate(zip(options["genotypes"], arrays["images"], strict=True)):
        training.network.backbone.set_active_subnet(**genotype)
        _, terms = training.step(images, [target[step] for target in targets])
        found.append([term.item() for term in terms.values()])
    return {"losses": np.array(found)}


def detect(arrays: Arrays, options: dict) -> Arrays:
    """Maps and detections of the images with running statistics, the decoding of `given` maps, and AP by class."""
    network = loaded(arrays, options).eval()
    with torch.no_grad():
        batches = torch.from_numpy(arrays["images"]).split(options["batch"])
        found = [network(images) for images in batches]
        maps = {name: torch.cat([one[name] for one in found]) for name in found[0]}
        boxes, labels, scores = (value.numpy() for value in decode(maps))
        given = {name: torch.from_numpy(value) for name, value in group(arrays, "given").items()}
        again = dict(zip(("box", "label", "score"), (value.numpy() for value in decode(given)), strict=True))
    detections = {
        "image": np.repeat(np.arange(len(boxes)), boxes.shape[1]),
        "box": np.concatenate([to_image(*pair) for pair in zip(boxes, arrays["matrix"], strict=True)]),
        "label": labels.ravel(),
        "score": scores.ravel(),
    }
    ap = [voc_ap(detections, group(arrays, "truth"), label) for label in range(options["network"]["n_classes"])]
    return {
        **{"ap": np.array(ap)},
        **prefixed("maps", arrays_of(maps)),
        **prefixed("detections", detections),
        **prefixed("given", again),
    }


def to_image(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Boxes (K, 4) in cells as pixels of the image that the matrix (2, 3) warps to cells."""
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    corners = np.dstack([boxes.reshape(-1, 2, 2).astype(np.float64), np.ones((len(boxes), 2, 1))])
    return (corners @ back.T)[..., :2].reshape(-1, 4)


def loaded(arrays: Arrays, options: dict) -> CenterNet:
    """The network with the weights asked for, on the path asked for if one is."""
    network = CenterNet(**options["network"])
    network.load(group(arrays, "weights"))
    if "genotype" in options:
        network.backbone.set_active_subnet(**options["genotype"])
    return network


def floats_of(network: CenterNet) -> dict[str, torch.Tensor]:
    """Copies of all weights and running statistics."""
    return {name: value.clone() for name, value in network.state_dict().items() if value.is_floating_point()}


def gradient_of(network: CenterNet) -> Arrays:
    """Of the parameters that the path has; in single precision, which is exact enough to be compared with."""
    return arrays_of({name: p.grad.float() for name, p in network.named_parameters() if p.grad is not None})


def change_of(network: CenterNet, before: dict[str, torch.Tensor]) -> Arrays:
    after = network.state_dict()
    return arrays_of({name: (after[name] - value).float() for name, value in before.items()})


def arrays_of(tensors: dict[str, torch.Tensor]) -> Arrays:
    """As NumPy's; copies, because steps go on in place."""
    return {name: value.detach().numpy().copy() for name, value in tensors.items()}


def main(task: str, folder: str) -> None:
    torch.set_num_threads(1)
    answer = {"initial": initial, "steps": steps, "held": held, "curve": curve, "detect": detect}[task]
    write(Path(folder) / "answer.npz", answer(*read(Path(folder) / "ask.npz")))


if __name__ == "__main__":
    main(*sys.argv[1:])
