"""PyTorch's own transformer encoder in the shape of the path filter. Runs in the peers' environment."""

import torch
from torch import nn


class Encoder(nn.Module):
    """Embedding, three post-norm layers, mean over the tokens, two linear layers, sigmoid."""

    def __init__(self, vocabulary: int, dim: int = 128, heads: int = 4, layers: int = 3, hidden: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dim)
        layer = nn.TransformerEncoderLayer(dim, heads, hidden, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.head = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid())

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embedding(tokens)).mean(1))


def score(n: int, batch: int, threads: int, length: int = 22, vocabulary: int = 64):
    """Scores of n paths in batches, without gradients."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    encoder, tokens = Encoder(vocabulary).eval(), torch.randint(vocabulary, (n, length))

    def run() -> int:
        with torch.inference_mode():
            for part in tokens.split(batch):
                encoder(part)
        return n

    return run


def fit(n: int, epochs: int, threads: int = 1, length: int = 27, vocabulary: int = 64, batches: int = 7):
    """Epochs of Adam on the hinge of Eq. 5 over the pairs of five buckets, with a fifth of the paths held out."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    encoder = Encoder(vocabulary)
    adam = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    tokens, buckets, losses = torch.randint(vocabulary, (n, length)), torch.randint(5, (n,)), torch.rand(n)
    train, valid = torch.arange(n).split([4 * n // 5, n - 4 * n // 5])

    def objective(paths: torch.Tensor) -> torch.Tensor:
        scores = encoder(tokens[paths])[:, 0]
        group, truth = buckets[paths], losses[paths]
        pairs = (group[:, None] == group) & (truth[:, None] < truth)
        return ((1 - (scores[:, None] - scores)).relu().square() * pairs).sum() / pairs.sum()

    def run() -> int:
        for _ in range(epochs):
            encoder.train()
            for paths in train[torch.randperm(len(train))].tensor_split(batches):
                adam.zero_grad()
                objective(paths).backward()
                adam.step()
            encoder.eval()
            with torch.inference_mode():
                objective(valid)
        return epochs

    return run
