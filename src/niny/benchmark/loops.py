"""What is compared: a plain training loop, the engine's, and the machine's own rate of matrix products."""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from niny.config import Run
from niny.data.augment import translate_and_flip
from niny.models import Network, build, initialise
from niny.training.device import Compute, keep_freed_memory, set_malloc
from niny.training.loop import TrainingData, batches, train_epoch
from niny.training.optimiser import make_optimiser
from niny.training.seeds import Seeds
from niny.training.update import Update, make_update

SEEDS = Seeds(root=0, number=0)
MATRIX = {"cpu": 2048, "cuda": 8192}  # sides of the matrices of the ceiling


def seconds(work: Callable[[], object], compute: Compute) -> float:
    """Wall-clock time of one call, the device's queued work included."""
    synchronise(compute)
    start = time.perf_counter()
    work()
    synchronise(compute)
    return time.perf_counter() - start


def synchronise(compute: Compute) -> None:
    if compute.device.type == "cuda":
        torch.cuda.synchronize()


def usual_memory() -> None:
    """Undo `keep_freed_memory`: what glibc comes to by itself in a process that makes large tensors."""
    set_malloc(separate_maps=65_536, trim_above=2**26, grow_by=2**17)


def ceiling(compute: Compute, rounds: int = 20) -> float:
    """Floating-point operations a second of a large matrix product in the engine's precision, the best of `rounds`."""
    side = MATRIX[compute.device.type]
    a, b = torch.randn(2, side, side, device=compute.device).to(compute.dtype)
    return 2 * side**3 / min(seconds(lambda: a @ b, compute) for _ in range(rounds))


def fresh_network(run: Run, compute: Compute, memory_format: torch.memory_format) -> Network:
    net = build(run)
    initialise(net, run.recipe.init, run.recipe.init_std, 0, run.recipe.init_std_of)
    return net.to(compute.device).to(memory_format=memory_format)


class PlainImages(Dataset[tuple[Tensor, int]]):
    """Images one by one, as a Dataset gives them: to float, padded, cropped, flipped, normalised."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index].float() / 255
        height, width = image.shape[1:]
        top, left = torch.randint(9, (2,)).tolist()
        image = F.pad(image, (4, 4, 4, 4))[:, top : top + height, left : left + width]
        if torch.rand(()) < 0.5:
            image = image.flip(2)
        return (image - 0.5) / 0.25, self.labels[index]


class PlainLoop:
    """Eager float32, channels first, a DataLoader with a transform for each image, the loss read in every step."""

    def __init__(self, run: Run, images: Tensor, labels: Tensor, compute: Compute) -> None:
        self.compute, recipe = compute, run.recipe
        self.loader = DataLoader(PlainImages(images, labels), recipe.batch, shuffle=True)
        self.net = fresh_network(run, compute, torch.contiguous_format)
        self.optimiser = torch.optim.SGD(
            self.net.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )

    def prepare(self) -> None:
        """Take back what the engine set for the whole process, and learn from a batch: memory is fetched anew."""
        usual_memory()
        torch.backends.cudnn.allow_tf32 = True
        self.net.train()
        self.learn(*next(iter(self.loader)))

    def epoch(self) -> None:
        running_loss, mistakes = 0.0, 0
        for images, labels in self.loader:
            loss, wrong = self.learn(images, labels)
            running_loss += loss
            mistakes += wrong

    def learn(self, images: Tensor, labels: Tensor) -> tuple[float, int]:
        images, labels = images.to(self.compute.device), labels.to(self.compute.device)
        self.optimiser.zero_grad()
        logits = self.net(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        self.optimiser.step()
        return loss.item(), int((logits.argmax(1) != labels).sum().item())


class EngineLoop:
    """What `niny train` runs, augmentation included."""

    def __init__(self, run: Run, images: Tensor, labels: Tensor, compute: Compute) -> None:
        self.recipe = run.recipe
        net = fresh_network(run, compute, torch.channels_last)
        self.update = make_update(net, make_optimiser(net, self.recipe), self.recipe, compute)
        placed = compute.place((images.float() / 255 - 0.5) / 0.25)
        self.data = TrainingData(placed, labels.to(compute.device), placed, labels)

    def prepare(self) -> None:
        """Set what the engine sets, and learn from a batch: an epoch of any length pays only once for its memory."""
        keep_freed_memory()
        torch.backends.cudnn.allow_tf32 = False
        self.update.net.train()
        self.update(self.data.train_images[: self.recipe.batch], self.data.train_labels[: self.recipe.batch])

    def epoch(self) -> None:
        train_epoch(self.update, self.data, self.recipe, 0, SEEDS, augment=True)


def part_seconds(loop: EngineLoop, compute: Compute) -> dict[str, float]:
    """Seconds per image of each part of an update, launched one by one and waited for, so no graph is in this."""
    update, recipe = Update(loop.update.net, loop.update.optimiser, loop.recipe, compute), loop.recipe
    update.network = loop.update.network
    totals = dict.fromkeys(("input", "forward", "backward", "update", "metrics"), 0.0)
    for index in batches(len(loop.data.train_labels), recipe, 0, compute.device):
        for part, took in zip(totals, _one_update(update, loop.data, index, compute), strict=True):
            totals[part] += took
    return {part: total / len(loop.data.train_labels) for part, total in totals.items()}


def _one_update(update: Update, data: TrainingData, index: Tensor, compute: Compute) -> Iterator[float]:
    """The seconds of input, forward, backward, update and metrics, in this order."""
    crops = torch.Generator(compute.device).manual_seed(0)
    made: list[Tensor] = []
    yield seconds(lambda: made.append(translate_and_flip(data.train_images[index], 4, crops)), compute)
    labels = data.train_labels[index]
    yield seconds(lambda: made.extend(update.forward(made[0], labels)), compute)
    _, logits, loss = made
    update.optimiser.zero_grad(set_to_none=True)
    yield seconds(loss.backward, compute)
    yield seconds(update.optimiser.step, compute)
    yield seconds(lambda: update.count(logits, loss, labels), compute)
