"""Search a learning rate and a size with Optuna: each trial is a run of memexp, in a study of its own.

``pip install -e ".[optuna]"``, then ``python docs/examples/optuna_search.py``. Stop it and give it again: Optuna keeps
the trials in a file, and memexp the runs, so that nothing is trained twice. What is tuned is dev; test is for the end.
"""

import sys
from pathlib import Path

import optuna

import memexp

SETTINGS = {"length": 20, "epochs": 100, "seeds": 3}


def objective(trial: optuna.Trial) -> float:
    """Train a network with what the trial suggests; return its mean dev accuracy over seeds."""
    run = memexp.run(
        "model=lstm",
        study="optuna",
        lr=trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        model__hidden_size=trial.suggest_categorical("hidden_size", [16, 32, 64]),
        model__initialiser=trial.suggest_categorical("initialiser", ["xavier", "chrono"]),
        **SETTINGS,
    )
    trial.set_user_attr("run", run.name)
    scores = [seed["dev_accuracy"] for seed in run.summary["seeds"] if seed["diverged_at"] is None]
    if not scores:
        raise optuna.TrialPruned("no seed's loss stayed finite")
    return sum(scores) / len(scores)


def main(trials: int = 20) -> optuna.Study:
    """Make so many trials in all, with those of before."""
    Path("outputs").mkdir(exist_ok=True)
    study = optuna.create_study(
        storage="sqlite:///outputs/optuna.db",
        study_name="digit_sum",
        load_if_exists=True,
        direction="maximize",
    )
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))  # one of seed 0 would begin with the same again
    study.optimize(objective, n_trials=max(0, trials - len(study.trials)))
    print(f"best on dev: {study.best_value:.1%} with {study.best_params}, {study.best_trial.user_attrs['run']}")
    return study


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
