"""Training stages: one path of a sampler a step, and weights behind the last step (Algorithm 1, lines 2, 7 to 16)."""

from collections.abc import Callable

from ..space import SearchSpace
from ..storage import Kept, Work
from ..supernet import save_weights
from .run import Run
from .samplers import BALANCED, OnePath, PathSampler, path_sampler
from .schedule import Schedule, learning_rate

WARMUP, FINETUNE, WEIGHTS = "warmup", "finetune", "weights.h5"


def train(
    run: Run,
    stage: str,
    sampler: PathSampler,
    inputs: dict,
    *,
    first: int,
    last: int,
    rate: Schedule | None = None,
    leaves: str | None = None,
    begin: Callable[[], None] = lambda: None,
    forward: int = 0,
) -> None:
    """Train epochs `first` to `last` - 1; the network is then as the stage left it, in this session or before.

    Args:
        inputs: what decides this stage beside its epochs and the sampler's options.
        rate: the learning rate by epochs done; that of the whole schedule where it is None.
        leaves: a file of weights to leave beside the checkpoints.
        begin: called once, where the stage was not begun before, with the weights of the one before it.
        forward: images that pass forward besides, for each that is trained on.
    """
    rate, average = rate or schedule(run), run.options.weight_average

    def go() -> None:
        run.trainer.train(stage, sampler, first=first, last=last, rate=rate, begin=begin, average=average)

    def work() -> None:
        go()
        if leaves and run.folder.writes:
            save_weights(run.model, run.folder / leaves)

    averaged = {"weight_average": average} if average else {}
    steps = (last - first) * run.trainer.steps_an_epoch
    batch = run.step.accumulate * run.options.mini_batch_train * run.processes.n
    detail = f"{last - first} epochs, {steps:,} steps of {batch:,} images"
    run.stages.run(
        stage,
        {**inputs, **sampler_inputs(run), "epochs": [first, last], **averaged},
        # kept: loads the end, or what a damaged one has lost of it
        Kept([f"checkpoint_{stage}", *([leaves] if leaves else [])], go),
        work,
        rehearsed=lambda: None,
        takes=Work(detail, steps=steps, batch=batch, images=forward * steps * batch),
    )


def drawn_paths(run: Run, stage: str, space: SearchSpace) -> PathSampler:
    """Paths of a space as `sampler` says, with a stream of random numbers for each stage; the only one, where the
    network holds no other."""
    if run.model.only is not None:
        return OnePath(run.model.only)
    return path_sampler(run.options.sampler.name, space, run.cost, run.budgets, run.rng(stage))


def schedule(run: Run) -> Schedule:
    """The learning rate over warm-up and fine-tuning together."""
    options = run.options
    own = dict(options.schedule)
    return learning_rate(
        own.pop("name"), run.trainer.base_rate, total=run.epochs, batch=options.batch_size_train, **own
    )


def sampler_inputs(run: Run) -> dict:
    """Inputs that decide the drawn paths, beside space and seed."""
    sampler = dict(run.options.sampler)
    return {"sampler": sampler, **({"cost": run.cost_inputs} if sampler["name"] == BALANCED else {})}
