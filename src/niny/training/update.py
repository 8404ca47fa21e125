"""One update of a network: forward, backward, the optimiser's step, the epoch's sums. All of it stays on the device.

A GPU gets the same update as one CUDA graph around a network with fewer passes through memory (niny.training.fused, or
PyTorch's compiler): at this size it would otherwise wait for some two hundred launches a batch, and read every
activation once more for each ReLU, bias and mask. A CPU saves some of these passes, too (niny.training.joined).

Several processes that train together (torchrun) share each batch; one process can take the same parts one after the
other.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from niny.config import Recipe
from niny.errors import NinyError
from niny.models import Network
from niny.models.blocks import BATCH_NORM, Dropout
from niny.training.device import Compute
from niny.training.joined import JoinedNetwork, can_join
from niny.training.processes import part, part_of, size, summed

WARM_UP = 3  # eager updates before capture: libraries allocate and choose their algorithms in them


class Update:
    """Call it with images N x C x H x W and labels N: the network has learned from them once.

    `totals` on the device holds the sums of loss and mistakes, masks on, since it was last set to zero. `network` is
    what computes the logits, and `form` says in a word what became of the layers for it.
    """

    form = "as it is"

    def __init__(self, net: Network, optimiser: torch.optim.Optimizer, recipe: Recipe, compute: Compute) -> None:
        self.net, self.optimiser, self.recipe, self.compute = net, optimiser, recipe, compute
        self.network: Callable[[Tensor], Tensor] = net
        self.totals = torch.zeros(2, device=compute.device)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        self.learn(images, labels)

    def learn(self, images: Tensor, labels: Tensor, weight: float = 1.0) -> None:
        """One step down the gradient of `weight` times the mean loss."""
        self.optimiser.zero_grad(set_to_none=True)
        self.add_gradient(images, labels, weight)
        self.optimiser.step()

    def add_gradient(self, images: Tensor, labels: Tensor, weight: float) -> None:
        logits, loss = self.forward(images, labels)
        (loss if weight == 1.0 else weight * loss).backward()
        self.count(logits, loss, labels)

    def sums(self) -> list[float]:
        """Loss and mistakes summed over the images since `totals` was zero."""
        return list(self.totals.tolist())

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with self.compute.autocast():
            logits = self.network(images).float()
        return logits, loss_of(logits, labels, self.recipe)

    def count(self, logits: Tensor, loss: Tensor, labels: Tensor) -> None:
        wrong = (logits.detach().argmax(1) != labels).sum()
        self.totals += torch.stack((loss.detach() * len(labels), wrong.float()))


class ParallelUpdate(Update):
    """The same update by several processes that all have the batch: each learns from its part of it.

    Gradients are averaged over processes as they come (DistributedDataParallel), so a part weighs by its size: any
    number of processes takes the step that one would take, up to the order of float32 sums. The masks of dropout are
    parts of the one mask, too. Batch norm is over the whole batch, which PyTorch offers on GPUs alone.
    """

    def __init__(self, net: Network, optimiser: torch.optim.Optimizer, recipe: Recipe, compute: Compute) -> None:
        super().__init__(net, optimiser, recipe, compute)
        if has_batch_norm(net):
            if compute.device.type == "cpu":
                raise NinyError("batch norm cannot be shared by processes on CPUs: train this experiment with one")
            nn.SyncBatchNorm.convert_sync_batchnorm(net)
        self.network = DistributedDataParallel(net)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        whole, mine = len(labels), part(len(labels))
        share_masks(self.net, whole, mine)
        self.learn(images[mine], labels[mine], (mine.stop - mine.start) * size() / whole)

    def count(self, logits: Tensor, loss: Tensor, labels: Tensor) -> None:
        if len(labels):  # a batch may have fewer images than there are processes
            super().count(logits, loss, labels)

    def sums(self) -> list[float]:
        return list(summed(self.totals.clone()).tolist())


class PartedUpdate(Update):
    """The same update by one process that takes each batch in parts: those that so many processes would share.

    It keeps the activations of one part at a time. Two parts give the very bits of two processes, for a + b is b + a;
    what more than two processes add comes in an order of their own.
    """

    def __init__(self, net: Network, optimiser: torch.optim.Optimizer, recipe: Recipe, compute: Compute) -> None:
        super().__init__(net, optimiser, recipe, compute)
        if has_batch_norm(net):
            raise NinyError("batch norm needs each batch as a whole: train this experiment without --parts")
        self.gpus = [compute.device] if compute.device.type == "cuda" else []
        self.totals = torch.zeros(compute.parts, 2, device=compute.device)
        self.parts = [Update(net, optimiser, recipe, compute) for _ in range(compute.parts)]
        for update, totals in zip(self.parts, self.totals, strict=True):
            update.totals = totals  # a view: what a process would have counted

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        whole = len(labels)
        self.optimiser.zero_grad(set_to_none=True)
        for number, update in enumerate(self.parts):
            mine = part_of(whole, number, len(self.parts))
            if mine.start == mine.stop:
                continue  # a batch may have fewer images than parts
            share_masks(self.net, whole, mine)
            # all parts draw the masks of the whole batch, each from where the first one began
            with torch.random.fork_rng(self.gpus) if mine.stop < whole else nullcontext():
                update.add_gradient(images[mine], labels[mine], (mine.stop - mine.start) / whole)
        self.optimiser.step()

    def sums(self) -> list[float]:
        return list(self.totals.sum(0).tolist())


def has_batch_norm(net: Network) -> bool:
    return any(isinstance(layer, BATCH_NORM) for layer in net.modules())


def share_masks(net: Network, whole: int, mine: slice) -> None:
    """Let dropout know that the next images are a part of a batch."""
    for layer in net.modules():
        if isinstance(layer, Dropout):
            layer.shared = (whole, mine)


@dataclass(frozen=True)
class Captured:
    """A recorded update and where it reads its batch."""

    graph: torch.cuda.CUDAGraph
    images: Tensor
    labels: Tensor


class GraphUpdate(Update):
    """The same update for a GPU: after a few batches of a size, batches of that size replay what was captured once."""

    def __init__(self, net: Network, optimiser: torch.optim.Optimizer, recipe: Recipe, compute: Compute) -> None:
        super().__init__(net, optimiser, recipe, compute)
        for group in optimiser.param_groups:  # the graph reads the rates from the device, where they can change
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=compute.device)
        self.form, self.network = quick_network(net, recipe.batch, compute)
        self.stream = torch.cuda.Stream()
        self.seen: Counter[int] = Counter()
        self.captured: dict[int, Captured] = {}

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        size = len(labels)
        self.seen[size] += 1
        if self.seen[size] <= WARM_UP:
            self.run_beside(images, labels)
            return
        captured = self.captured.get(size) or self.capture(images, labels)
        captured.images.copy_(images)
        captured.labels.copy_(labels)
        captured.graph.replay()

    def run_beside(self, images: Tensor, labels: Tensor) -> None:
        """Launch by launch, on a stream of its own: what capture wants for a warm-up."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            super().__call__(images, labels)
        torch.cuda.current_stream().wait_stream(self.stream)

    def capture(self, images: Tensor, labels: Tensor) -> Captured:
        captured = Captured(torch.cuda.CUDAGraph(), images.clone(), labels.clone())
        with torch.cuda.graph(captured.graph):  # records the launches; nothing is computed here
            super().__call__(captured.images, captured.labels)
        self.captured[len(labels)] = captured
        return captured


def make_update(net: Network, optimiser: torch.optim.Optimizer, recipe: Recipe, compute: Compute) -> Update:
    """The quickest update for the device; `Compute.eager` asks for the plain one, shared batches need their own."""
    if compute.processes > 1:
        return ParallelUpdate(net, optimiser, recipe, compute)
    if compute.parts > 1:
        return PartedUpdate(net, optimiser, recipe, compute)
    if compute.device.type == "cuda" and not compute.eager:
        return GraphUpdate(net, optimiser, recipe, compute)
    update = Update(net, optimiser, recipe, compute)
    if compute.device.type == "cpu" and not compute.eager and can_join(compute.dtype):
        update.form, update.network = "joined", JoinedNetwork(net)
    return update


def loss_of(logits: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """The mean loss of logits N x K: softmax cross-entropy as in the paper, or one yes-or-no question a class."""
    if recipe.loss == "cross_entropy":
        return F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    targets = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, targets) * logits.shape[1]


def quick_network(net: Network, batch: int, compute: Compute) -> tuple[str, Callable[[Tensor], Tensor]]:
    """The network with as few passes through a GPU's memory as can be had here, and which form that is."""
    if not can_compile(compute.device.type):
        return Update.form, net
    from niny.training.fused import fuse  # which wants Triton

    fused = fuse(net, compute.dtype) if compute.dtype is torch.bfloat16 else None
    return ("fused", fused) if fused else ("compiled", compiled_for(net, batch))


def compiled_for(net: Network, batch: int) -> Callable[[Tensor], Tensor]:
    """The network compiled for batches of one size; the few of another, at an epoch's end, go through it as it is."""
    torch.compiler.reset()  # a process may train many networks, and compiles each function a few times only
    compiled = torch.compile(net, dynamic=False)
    return lambda images: (compiled if len(images) == batch else net)(images)


@cache
def can_compile(device: str) -> bool:
    """Do Triton and a C compiler work here? Tried on a small function, since both may be there and not fit."""
    try:
        torch.compile(lambda x: torch.relu(x + 1))(torch.ones(8, device=device))
    except Exception:  # whatever it is, the network runs uncompiled
        return False
    return True
