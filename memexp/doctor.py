"""What can be said of a run before it is trained: ``python -m memexp.doctor`` with the settings of ``memexp``.

Its size, what simple answers reach, and how much of the error's gradient reaches the tokens that have to be remembered.
"""

import os
import sys
from collections.abc import Iterator

from omegaconf import DictConfig

from memexp import contract
from memexp.arguments import one_run
from memexp.experiment import build_model, build_task, little_credit
from memexp.options import run_main
from memexp.progress import say
from memexp.training import credit, machine
from memexp.weights import start

NAME = "python -m memexp.doctor"
HELP = f"""{NAME} [key=value ...]

Says what can be known of a run before it is trained; the keys are those of python -m memexp. Nothing is trained.

  parameters  of one seed
  floors      what simple answers reach
  credit      how much a time step is told of the error: the norm of dLoss/d(x W + b) by the steps that follow it,
              mean over seeds and the first eight rows; where it is under Adam's eps, a warning says so"""
LAGS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # that are shown, and the longest


def findings(config: DictConfig) -> Iterator[str]:
    """Say what can be known of a run, line by line; the last one is the warning, if there is one.

    Raises:
        MemexpError: its task or its model cannot be built.
    """
    with contract.named(config, "task"):
        task = build_task(config)
    contract.check(config, task, build_task, build_model)
    model = build_model(config, task.interface)
    start.begin(model, config, task.extras.get("vocabulary"))
    title = model.cell.title or type(model.cell).__name__
    yield f"{title}, {config.task.name}, {task.trained_on}, {len(config.seeds)} seeds"
    yield f"parameters  {model.parameter_count:,}; a state of {model.state_size:,} numbers"
    for metric, by_name in task.floors().items():
        reached = ", ".join(f"{name} {value:.4g}" for name, value in by_name.items())
        yield f"floors      {metric.replace('_', ' ')}: {reached}"
    found = credit.expected(model, task)
    if found is None:
        yield "credit      the task does not say which tokens have to be remembered"
        return
    by_lag = found.by_step.flip(0).tolist()
    yield "credit      steps that follow: norm of dLoss/d(x W + b)"
    for lag in sorted({*(lag for lag in LAGS if lag < len(by_lag)), len(by_lag) - 1}):
        yield f"            {lag:>5}: {by_lag[lag]:.2g}"
    yield f"            at the first token that has to be remembered: {found.first:.2g}"
    if warning := little_credit(config, task, model):
        yield f"warning: {warning}"


def examine() -> None:
    """Do what the command line asks for."""
    arguments = sys.argv[1:]
    if {"--help", "-h"} & {*arguments}:
        say(HELP)
        return
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a class of the user's own is found where he is
    machine.prepare()
    for line in findings(one_run(arguments, NAME)):
        say(line)


def main() -> None:
    """Run ``python -m memexp.doctor``."""
    run_main("doctor", examine)


if __name__ == "__main__":
    main()
