"""The authors' ImageNet network, trained from a folder of class folders: FOLDER/train/<class>/*, FOLDER/val/<class>/*.

The recipe is that of their Caffe files (`authors-imagenet` in params.yaml; the network is not in the paper). Images do
not fit on a device, so they stream: worker processes decode, scale the shorter side to 256/224 of what the network
reads, crop and mirror; bytes cross to the device and become numbers there, less the mean colour. The middle crop is
judged. Their database held images squeezed to squares; here the sides keep their ratio.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from niny.config import Recipe
from niny.data.transforms import IMAGENET_MARGIN, ImageNetTransform
from niny.errors import NinyError
from niny.files import write_json
from niny.models import Network, initialise, nin_imagenet
from niny.models.weights import save_weights
from niny.training import record
from niny.training.checkpoint import save_checkpoint
from niny.training.device import Compute
from niny.training.optimiser import learning_rate, make_optimiser, set_rate
from niny.training.processes import agreed, leads, part, rank, size, summed
from niny.training.runs import Say, resume, short_digest
from niny.training.seeds import Seeds
from niny.training.update import Update, make_update

RECIPE = "authors-imagenet"
NARROW = {"mlpconv1.conv1": 0.2, "mlpconv3.conv3": 0.2, "mlpconv4.cccp8": 0.2}  # std 0.01 where the others have 0.05
SMALLEST = 64  # pixels a side of which something is left for the last block
TOLD = 100  # updates between two lines of progress


@dataclass(frozen=True)
class Streamed:
    """Where images come from and how."""

    folder: Path
    pixels: int = 224  # a side, that the network reads
    workers: int = 2  # processes that decode, for each process that trains

    def sets(self) -> tuple[ImageFolder, ImageFolder]:
        """Training and validation images. Raises NinyError where folders are missing or their classes differ."""
        if self.pixels < SMALLEST:
            raise NinyError(f"--pixels {self.pixels}: this network reads images from {SMALLEST} pixels up")
        if self.workers < 0:
            raise NinyError(f"--workers {self.workers}: a number of processes, or 0 for none of their own")
        edge = round(self.pixels * IMAGENET_MARGIN)
        scaled = [v2.ToImage(), v2.Resize(edge)]
        train = open_folder(self.folder / "train", [*scaled, v2.RandomCrop(self.pixels), v2.RandomHorizontalFlip()])
        val = open_folder(self.folder / "val", [*scaled, v2.CenterCrop(self.pixels)])
        if train.classes != val.classes:
            raise NinyError(f"{self.folder}: train and val do not have the same class folders")
        return train, val

    def loader(self, images: ImageFolder, order: list[list[int]], seed: int) -> DataLoader[Any]:
        """Batches of these numbers of images: uint8 N x 3 x pixels x pixels, labels N."""
        draws = torch.Generator().manual_seed(seed)
        pinned = torch.cuda.is_available()
        return DataLoader(images, batch_sampler=order, num_workers=self.workers, generator=draws, pin_memory=pinned)


def open_folder(folder: Path, steps: Sequence[nn.Module]) -> ImageFolder:
    try:
        return ImageFolder(folder, v2.Compose(steps), loader=read_image)
    except FileNotFoundError as error:
        raise NinyError(f"{folder} is no folder of class folders with images: {str(error).splitlines()[0]}") from None


def read_image(path: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise NinyError(f"{path} is not a readable image ({error}): take it out") from None


def batch_numbers(count: int, recipe: Recipe, seed: int) -> list[list[int]]:
    """Our part of each batch of an epoch, reshuffled; what is left over at its end waits for another epoch."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    whole = order[: count // recipe.batch * recipe.batch].split(recipe.batch)
    return [batch[part(recipe.batch)].tolist() for batch in whole]


def judged_numbers(count: int, batch: int) -> list[list[int]]:
    """Our part of all images, in batches: over the processes, none is left out and none double."""
    mine = range(count)[part(count)]
    return [list(mine[i : i + batch]) for i in range(0, len(mine), batch)]


def fresh_network(classes: int, recipe: Recipe, compute: Compute, seeds: Seeds) -> Network:
    net = nin_imagenet(classes, inverted_dropout=recipe.inverted_dropout)
    initialise(net, recipe.init, recipe.init_std, seeds.of("init"), recipe.init_std_of)
    with torch.no_grad():
        for name, factor in NARROW.items():
            net.get_parameter(f"{name}.weight").mul_(factor)
    return net.to(compute.device).to(memory_format=torch.channels_last)


@dataclass
class Training:
    """A network on its way, and all that an epoch needs."""

    streamed: Streamed
    recipe: Recipe
    compute: Compute
    seeds: Seeds
    update: Update
    train: ImageFolder
    val: ImageFolder
    say: Say

    def epoch(self, epoch: int, steps: int) -> dict[str, Any]:
        """One pass, or its first `steps` updates; the row of the history."""
        numbers = batch_numbers(len(self.train), self.recipe, self.seeds.of("order", epoch))
        seeds, start = self.seeds, time.perf_counter()
        torch.manual_seed(seeds.of("masks", epoch) + rank())
        self.update.net.train()
        self.update.totals.zero_()
        loader = self.streamed.loader(self.train, numbers[:steps], seeds.of("augmentation", epoch) + rank())
        for step, (images, labels) in enumerate(self.placed(loader)):
            set_rate(self.update.optimiser, lr := learning_rate(self.recipe, epoch * len(numbers) + step, len(numbers)))
            self.learn(images, labels)
            if (step + 1) % TOLD == 0:
                self.tell(epoch, step + 1, time.perf_counter() - start)
        row = self.means(step + 1, time.perf_counter() - start)
        return {"epoch": epoch + 1, "updates": step + 1, "lr": lr} | row | {"val_error": self.error()}

    def learn(self, images: Tensor, labels: Tensor) -> None:
        """Several processes hold parts of a batch already; one has it whole, and its quickest update."""
        if size() > 1:
            self.update.learn(images, labels, len(labels) * size() / self.recipe.batch)
        else:
            self.update(images, labels)

    def placed(self, loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches on the device, colours centred, blue first as in the authors' files."""
        normalise = ImageNetTransform().normalise
        try:
            for pixels, labels in loader:
                images = normalise(pixels.to(self.compute.device, non_blocking=True))
                yield self.compute.place(images), labels.to(self.compute.device, non_blocking=True)
        except NinyError as error:  # from a worker it comes with its traceback
            raise NinyError(str(error).strip().splitlines()[-1].removeprefix("niny.errors.NinyError: ")) from None

    def means(self, updates: int, seconds: float) -> dict[str, float]:
        loss, mistakes = self.update.sums()
        images = updates * self.recipe.batch
        rate = images / seconds
        return {"train_loss": loss / images, "train_error": 100 * mistakes / images, "images_per_s": rate}

    def tell(self, epoch: int, updates: int, seconds: float) -> None:
        now = self.means(updates, seconds)
        self.say(
            f"epoch {epoch + 1}, update {updates}: loss {now['train_loss']:.3f}  error {now['train_error']:.1f} %  "
            f"{now['images_per_s']:,.1f} images/s"
        )

    @torch.no_grad()
    def error(self) -> float:
        """Per cent of the validation images whose first guess is wrong, each image looked at by one process."""
        net = self.update.net.eval()
        wrong = torch.zeros(2, device=self.compute.device)
        with self.compute.autocast():
            for images, labels in self.placed(self.streamed.loader(self.val, judged_numbers(len(self.val), 100), 0)):
                wrong += torch.stack([(net(images).argmax(1) != labels).sum(), (labels >= 0).sum()])
        mistakes, seen = summed(wrong).tolist()
        assert seen == len(self.val)
        return float(100 * mistakes / seen)


def train_folder(
    streamed: Streamed,
    recipe: Recipe,
    seeds: Seeds,
    root: Path,
    out: Path,
    compute: Compute,
    say: Say,
    steps: int | None = None,
) -> Path:
    """Train, going on after the last whole epoch, and write the weights to `out` and the history beside it (.json).

    `steps` ends it after so many updates. Raises NinyError for folders and images that cannot be used.
    """
    if steps is not None and steps < 1:
        raise NinyError(f"--steps {steps}: at least one update")
    if out.suffix != ".safetensors":  # the history beside it ends in .json
        raise NinyError(f"--out {out}: weights are written as .safetensors")
    train, val = streamed.sets()
    per_epoch = len(train) // recipe.batch
    if not per_epoch:
        raise NinyError(f"{streamed.folder}/train has {len(train)} images: at least one batch of {recipe.batch}")
    net = fresh_network(len(train.classes), recipe, compute, seeds)
    optimiser = make_optimiser(net, recipe)
    identity = f"{recipe} {streamed.pixels} {len(train)} {train.classes} {compute} {seeds} {record.code_digest()}"
    folder = root / ".niny" / "checkpoints" / "imagenet" / short_digest(identity)
    history = resume(folder, identity, net, optimiser, say)
    update = make_update(net, optimiser, recipe, compute)
    training = Training(streamed, recipe, compute, seeds, update, train, val, say)
    total = min(steps or recipe.epochs * per_epoch, recipe.epochs * per_epoch)
    while (done := sum(row["updates"] for row in agreed(history))) < total:
        history.append(agreed(training.epoch(len(history), min(per_epoch, total - done))))
        say("  ".join(f"{name} {value:.4g}" for name, value in history[-1].items()))
        if leads() and history[-1]["updates"] == per_epoch:
            state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "history": history}
            save_checkpoint(folder, len(history), identity, state)
    if leads():
        keep(out, net, history, training)
    return out


def keep(out: Path, net: Network, history: list[dict[str, Any]], training: Training) -> None:
    """The weights as float16, what `niny.load` must know to use them, and beside them what they came from."""
    classes = training.train.classes
    needed = {"experiment": "imagenet-nin", "channels": "bgr", "classes": json.dumps(classes)}
    save_weights(out, net.state_dict(), needed)
    about = {
        "classes": classes,
        "train_images": len(training.train),
        "val_images": len(training.val),
        "pixels": training.streamed.pixels,
        "recipe": asdict(training.recipe),
        "root_seed": training.seeds.root,
        "history": history,
        "machine": record.describe_machine(training.compute),
        **record.describe_commit(),
    }
    write_json(out.with_suffix(".json"), about)
