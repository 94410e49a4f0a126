"""A supernet's detector in PyTorch: the same layers on shared weights, as OFA does it. For the peers' environment."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


class Elastic(nn.Module):
    """A convolution of the leading channels, and a batch normalisation of them where it has one."""

    def __init__(self, n_in: int, n_out: int, kernel: int, *, stride: int = 1, norm: bool = True, up: bool = False):
        super().__init__()
        shape = (n_in, n_out) if up else (n_out, n_in)
        self.weight = nn.Parameter(nn.init.kaiming_normal_(torch.empty(*shape, kernel, kernel)))
        self.stride, self.pad, self.up = stride, (kernel - 1) // 2, up
        self.norm = nn.BatchNorm2d(n_out) if norm else None
        self.bias = None if norm else nn.Parameter(torch.zeros(n_out))

    def forward(self, x: torch.Tensor, n_out: int) -> torch.Tensor:
        n_in = x.shape[1]
        if self.up:
            x = F.conv_transpose2d(x, self.weight[:n_in, :n_out], None, self.stride, self.pad)
        else:
            bias = None if self.bias is None else self.bias[:n_out]
            x = F.conv2d(x, self.weight[:n_out, :n_in], bias, self.stride, self.pad)
        if self.norm is None:
            return x
        norm = self.norm
        statistics = norm.running_mean[:n_out], norm.running_var[:n_out]
        return F.batch_norm(x, *statistics, norm.weight[:n_out], norm.bias[:n_out], True, norm.momentum, norm.eps)


class Stem(nn.Module):
    def __init__(self, layer: dict) -> None:
        super().__init__()
        n_middle = layer["n_middle"]
        self.first = Elastic(layer["n_in"], n_middle, 3, stride=2)
        self.residual = Elastic(n_middle, n_middle, 3)
        self.last = Elastic(n_middle, layer["n_out"], 3)

    def forward(self, x: torch.Tensor, layer: dict) -> torch.Tensor:
        x = F.relu(self.first(x, layer["n_middle"]), inplace=True)
        if layer["shortcut"] == "identity":
            x = F.relu(self.residual(x, layer["n_middle"]), inplace=True) + x
        return F.relu(self.last(x, layer["n_out"]), inplace=True)


class Block(nn.Module):
    def __init__(self, layer: dict) -> None:
        super().__init__()
        n_in, n_middle, n_out = layer["n_in"], layer["n_middle"], layer["n_out"]
        self.conv1 = Elastic(n_in, n_middle, 1)
        self.conv2 = Elastic(n_middle, n_middle, 3, stride=layer["stride"])
        self.conv3 = Elastic(n_middle, n_out, 1)
        if layer["shortcut"] == "projection":
            self.downsample = Elastic(n_in, n_out, 1)

    def forward(self, x: torch.Tensor, layer: dict) -> torch.Tensor:
        y = F.relu(self.conv1(x, layer["n_middle"]), inplace=True)
        y = F.relu(self.conv2(y, layer["n_middle"]), inplace=True)
        y = self.conv3(y, layer["n_out"])
        if layer["shortcut"] == "projection":
            if layer["stride"] > 1:
                x = F.avg_pool2d(x, layer["stride"], layer["stride"], 0, ceil_mode=True, count_include_pad=False)
            x = self.downsample(x, layer["n_out"])
        return F.relu(y + x, inplace=True)


class Up(nn.Module):
    def __init__(self, layer: dict) -> None:
        super().__init__()
        self.conv = Elastic(layer["n_in"], layer["n_out"], 4, stride=2, up=True)

    def forward(self, x: torch.Tensor, layer: dict) -> torch.Tensor:
        return F.relu(self.conv(x, layer["n_out"]), inplace=True)


class Head(nn.Module):
    def __init__(self, layer: dict) -> None:
        super().__init__()
        self.hidden = Elastic(layer["n_in"], layer["n_middle"], 3, norm=False)
        self.output = Elastic(layer["n_middle"], layer["n_out"], 1, norm=False)

    def forward(self, x: torch.Tensor, layer: dict) -> torch.Tensor:
        return self.output(F.relu(self.hidden(x, layer["n_middle"]), inplace=True), layer["n_out"])


KINDS = {"stem": Stem, "block": Block, "up": Up, "head": Head}


def elastic(full: list, paths: list, size: int, batch: int, threads: int = 2):
    """Forward and backward of one path a call; `full` and each path are lists of (place, layer)."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layers = {place: KINDS[layer["kind"]](layer).train() for place, layer in full}
    parameters = [p for layer in layers.values() for p in layer.parameters()]
    images, turn = torch.randn(batch, 3, size, size), 0

    def step() -> None:
        nonlocal turn
        for parameter in parameters:
            parameter.grad = None
        x, loss = images, 0.0
        for place, layer in paths[turn % len(paths)]:
            y = layers[place](x, layer)
            if layer["kind"] == "head":
                loss = loss + (y * torch.randn(y.shape)).mean()
            else:
                x = y
        turn += 1
        loss.backward()

    return step
