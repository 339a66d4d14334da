"""Surgery: states are put into other sequences, and gates are held open or shut. What does the answer follow?

Nothing of the cells is changed: a run is taken up from any state by `SequenceModel.answer`, and a gate whose bias is
huge is open, or shut, in every bit. Steps are counted from 1; a state of step t is that after t tokens.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from memexp.figures import curves
from memexp.figures.heatmaps import is_gate
from memexp.figures.lettering import entitled
from memexp.figures.looks import shades
from memexp.memory.measure import Measure, Score, Subject
from memexp.models.cells import State
from memexp.models.networks import SequenceModel
from memexp.results.study import Study
from memexp.results.tables import interval
from memexp.tasks.task import Rows, generator
from memexp.words import labelled, named, tr

ROWS = 100  # that are operated on; each is the donor of the next one
UNIT_STEPS = 8  # at so many steps, spread evenly, units are patched one by one
UNIT_ROWS = 3200  # all units together are patched in so many rows at most
HUGE = 1e4  # a bias, beside which all else that a gate sees is nothing: sigmoid(1e4) = 1 and sigmoid(-1e4) = 0
WHOLE = "state"  # all states at once
CLAMPS = {"forget_gate": 1, "input_gate": 0, "output_gate": 1}  # that are summed up: what should help memory

States = list[State]
"""The state of each direction of each layer, [S, N, D] each."""

Draw = Callable[[pd.DataFrame, Axes, pd.DataFrame], AxesImage | None]
"""Draws the rows of one model and length, given those of the whole figure."""


class Operated(NamedTuple):
    """What is answered after V operations, and what was answered before: probabilities at the steps that are left.

    Attributes:
        after: [V, S, N, A, K].
        before: [S, N, A, K].
    """

    after: Tensor
    before: Tensor

    @property
    def effect(self) -> Tensor:
        """The total variation between both, sum |p - q| / 2: [V, S, N, A]."""
        return (self.after - self.before).abs().sum(-1) / 2


def states_by_step(model: SequenceModel, inputs: Tensor) -> list[States]:
    """Return the states after each step, inputs [N, L]: a list of L."""
    parts = model.trace(inputs[None])
    whole = [tuple(parts[f"{prefix}{name}"] for name in one.cell.states) for prefix, one in model.directions]
    return [[tuple(part[:, :, t] for part in state) for state in whole] for t in range(inputs.shape[1])]


def go_on(model: SequenceModel, inputs: Tensor, step: int, variants: Sequence[States]) -> Tensor:
    """Read on after a step from each of V states: inputs [N, L] -> probabilities at the steps left, [V, S, N, A, K]."""
    together = [tuple(map(_side_by_side, zip(*of_one, strict=True))) for of_one in zip(*variants, strict=True)]
    answers, _ = model.answer(inputs[None, :, step:].repeat(1, len(variants), *[1] * (inputs.dim() - 1)), together)
    S, _, A, K = answers.shape
    return answers.softmax(-1).view(S, len(variants), len(inputs), A, K).transpose(0, 1)


def _side_by_side(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts), 1)


def patched(own: States, donor: States, name: str, model: SequenceModel, unit: int | None = None) -> States:
    """Put a state of the donor into the own ones.

    Args:
        own: what is operated on.
        donor: where it comes from.
        name: the state, as ``cell_state``, or `WHOLE` for all.
        model: the model.
        unit: one unit alone; None for all.
    """
    found: States = []
    for (_, direction), mine, others in zip(model.directions, own, donor, strict=True):
        state = []
        for kind, part, other in zip(direction.cell.states, mine, others, strict=True):
            if name not in (WHOLE, kind):
                state.append(part)
            elif unit is None:
                state.append(other)
            else:
                state.append(torch.cat([part[..., :unit], other[..., unit : unit + 1], part[..., unit + 1 :]], -1))
        found.append(tuple(state))
    return found


def clamped(model: SequenceModel, gate: str, value: int, units: slice = slice(None)) -> SequenceModel:
    """Return a copy of a model in which a gate of all layers is always open (1) or shut (0), of all units or some."""
    own = copy.deepcopy(model)
    with torch.no_grad():
        for _, direction in own.directions:
            direction.cell.b[:, direction.cell.gates.index(gate), units] = HUGE if value else -HUGE
    return own


def gates_of(model: SequenceModel) -> list[str]:
    """Name the gates that can be clamped: those that have a bias of their own."""
    return [gate for gate in model.cell.gates if is_gate(gate)]


def share(values: Tensor, counted: Tensor) -> list[float]:
    """Return the mean of [..., S, N, A] over those that are counted, [S, N, A] or [N, A], as numbers: [..., S]."""
    counted = counted.expand_as(values)
    found: list[float] = ((values.double() * counted).sum((-2, -1)) / counted.sum((-2, -1))).tolist()
    return found


class GateSurgery(Measure):
    """What the answer follows, when a state is exchanged or a gate is held.

    *Patching.* Two sequences A and B are read up to step t; then the state of A is replaced by that of B, and the rest
    of A is read (Giulianelli et al. 2018 intervene in an LSTM's states too, by changing them). Of the pairs whose
    answers differ,

        wins = share in which the answer is then that to B

    It is 1 where all that counts of the past is in what was exchanged, 0 where nothing of it is. Patching h and c alone
    says in which of them it is; patching a unit alone, in which units: their effect e_d is the total variation between
    the answers, and (sum e_d)^2 / sum e_d^2 says how many carry it.

    *Clamping.* A gate is held at 0 or 1 for all units, at one step, or at all steps after the last token that counts:
    what the accuracy is then. Greff et al. (2017) leave gates out before training; here they are held after it.

    Cost: 100 rows, read some 20 L times; about 5 seconds for an LSTM of length 35.
    """

    name = "gate_surgery"
    question = "which state, units and gates carry the answer?"
    scores: ClassVar[Mapping[str, Score]] = {
        "patched_state_wins": Score(
            "share of pairs in which the other answer wins, the whole state being exchanged midway", share=True
        ),
        "patched_hidden_wins": Score("the same where the hidden state alone is exchanged", share=True),
        "patched_cell_wins": Score("the same where the cell state alone is exchanged", share=True),
        "carrying_units": Score("how many units carry the answer midway, by the effects of exchanging each alone"),
        "forget_open_gain": Score(
            "accuracy with f = 1 after the last token that counts, less that without", True, True
        ),
        "input_shut_gain": Score("accuracy with i = 0 after the last token that counts, less that without", True, True),
        "output_open_gain": Score(
            "accuracy with o = 1 after the last token that counts, less that without", True, True
        ),
    }

    def why_not(self, subject: Subject) -> str | None:
        """Say that answers are no classes, that the past is not all there is, or that states are not shown."""
        model = subject.after
        if subject.task.interface.outputs == 1:
            return "its answers are numbers, so none wins"
        if any(direction.backwards for _, direction in model.directions):
            return "it reads from both ends"
        shown = model.trace(subject.task.rows("dev").slice(0, 1).inputs[None])
        states = [f"{prefix}{state}" for prefix, direction in model.directions for state in direction.cell.states]
        return None if set(states) <= set(shown) else "its cell does not show all of its states as parts"

    @torch.no_grad()
    def measure(self, subject: Subject) -> pd.DataFrame:
        """Return ``seed``, ``operation``, ``part``, ``time_step``, ``unit``, ``wins``, ``effect``, ``accuracy``.

        The operation is ``patch``, of a state, or ``clamp``, of a gate and its value. Without a time step it is one at
        all steps after the last token that counts, and ``none`` is no operation.
        """
        rows = subject.task.distribution()
        chosen = torch.multinomial(
            rows.row_weights(), min(ROWS, len(rows)), replacement=False, generator=generator(0, self.name, 0)
        )
        rows = rows.take(chosen)
        found = [*_patches(subject.after, rows.inputs), *_clamps(subject.after, rows, subject.task.needed(rows.inputs))]
        tables = [pd.DataFrame({"seed": subject.seeds} | row) for row in found]
        return pd.concat(tables, ignore_index=True)

    def summed_up(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return what patches midway and clamps to the end come to."""
        rows = []
        for (run, seed), own in table.groupby(["run", "seed"], sort=False):
            patches, clamps = own[own["operation"] == "patch"], own[own["time_step"].isna()].set_index("part")
            middle = (patches["time_step"].max() + 1) // 2
            whole = patches[(patches["time_step"] == middle) & patches["unit"].isna()].set_index("part")["wins"]
            units = patches[patches["unit"].notna()]
            nearest = units["time_step"].iloc[(units["time_step"] - middle).abs().argmin()] if len(units) else np.nan
            effects = units.loc[units["time_step"] == nearest, "effect"].to_numpy()
            carrying = effects.sum() ** 2 / (effects**2).sum() if effects.any() else np.nan
            wins = [whole.get(part, np.nan) for part in (WHOLE, "hidden_state", "cell_state")]
            gains = [
                clamps["accuracy"].get(_clamp_name(gate, value), np.nan) - clamps.loc["none", "accuracy"]
                for gate, value in CLAMPS.items()
            ]
            rows.append((run, seed, *wins, carrying, *gains))
        return pd.DataFrame(rows, columns=["run", "seed", *self.scores])

    def draw(self, table: pd.DataFrame, study: Study) -> Mapping[str, Figure]:
        """Draw patches, single units and clamps, each a figure: a row of Axes for each model, a column a length."""
        at_step = table[table["time_step"].notna()]
        patches, clamps = at_step[at_step["operation"] == "patch"], at_step[at_step["operation"] == "clamp"]
        whole, units = patches[patches["unit"].isna()], patches[patches["unit"].notna()]
        base = table[table["part"] == "none"][["run", "seed", "accuracy"]]
        clamps = clamps.merge(base, on=["run", "seed"], suffixes=("", "_without"))
        exchanged = tr(
            "Share of pairs in which the other sequence's answer wins, its state being put in after a step:\n"
            "mean over seeds, 95 % interval"
        )
        alone = tr(
            "Effect of exchanging one unit's state after a step: total variation between the answers;\n"
            "the first seed, units by their effect"
        )
        held = tr("Accuracy with a gate held at one step, less that without: mean over seeds")
        drawn: dict[str, tuple[pd.DataFrame, Draw, str]] = {
            "patch": (whole, draw_patches, exchanged),
            "units": (units, draw_units, alone),
            "clamp": (clamps, draw_clamps, held),
        }
        return {
            f"{self.name}_{name}": _figure(own, draw, title) for name, (own, draw, title) in drawn.items() if len(own)
        }


def _clamp_name(gate: str, value: int) -> str:
    return f"{gate}={value}"


def _patches(model: SequenceModel, inputs: Tensor) -> Iterator[dict[str, Any]]:
    """Patch every state at every step but the last, and units at some."""
    own = states_by_step(model, inputs)
    donor = [[tuple(part.roll(1, 1) for part in state) for state in states] for states in own]
    before = model(inputs[None]).softmax(-1)  # [S, N, A, K]
    names = dict.fromkeys([WHOLE, *(name for _, one in model.directions for name in one.cell.states)])
    kinds = [*names] if len(names) > 2 else [WHOLE]
    last = inputs.shape[1] - 1
    unit_steps = {int(step) for step in np.linspace(1, last, UNIT_STEPS).round()} if last > 0 else set()
    single = list(names)[-1]  # of the LSTM the cell state
    for step in range(1, last + 1):
        mine, others = own[step - 1], donor[step - 1]
        left = Operated(go_on(model, inputs, step, [patched(mine, others, name, model) for name in kinds]),
                        _left(before, inputs, step))  # fmt: skip
        answers, other_answers = left.before.argmax(-1), left.before.roll(1, 1).argmax(-1)
        differ = answers != other_answers
        wins = share(left.after.argmax(-1) == other_answers, differ)
        effects = share(left.effect, torch.ones_like(differ))
        for place, name in enumerate(kinds):
            yield _row("patch", name, step, wins=wins[place], effect=effects[place])
        if step in unit_steps:
            D = model.widths[-1]
            few = max(1, UNIT_ROWS // D)
            units = [patched(mine, others, single, model, unit) for unit in range(D)]
            units = [[tuple(part[:, :few] for part in state) for state in states] for states in units]
            after = go_on(model, inputs[:few], step, units)
            effects = share(Operated(after, left.before[:, :few]).effect, torch.ones_like(differ[:, :few]))
            for unit in range(D):
                yield _row("patch", single, step, unit=unit, effect=effects[unit])


def _left(answers: Tensor, inputs: Tensor, step: int) -> Tensor:
    """Return those of all answers [S, N, A, ...] that come after a step, where there is one at every step."""
    return answers[:, :, step:] if answers.shape[2] == inputs.shape[1] else answers


def _clamps(model: SequenceModel, rows: Rows, needed: Tensor | None) -> Iterator[dict[str, Any]]:
    """Clamp every gate at every step but the last, and at all steps after the last token that counts."""
    inputs, targets = rows.inputs, rows.targets
    asked = torch.ones_like(targets, dtype=torch.bool) if rows.weights is None else rows.weights > 0
    states = states_by_step(model, inputs)
    right = model(inputs[None]).argmax(-1) == targets
    yield _row("none", "none", None, accuracy=share(right, asked))
    held = {(gate, value): clamped(model, gate, value) for gate in gates_of(model) for value in (0, 1)}
    last = inputs.shape[1] - 1
    for step in range(1, last + 1) if held else ():  # the step that is operated on; the next one goes on from it
        start = states[step - 2] if step > 1 else None
        variants = [other.encode(inputs[None, :, step - 1 : step], start)[1] for other in held.values()]
        answers = go_on(model, inputs, step, variants).argmax(-1)
        counted = _left(asked[None], inputs, step)
        scores = share(answers == _left(targets[None], inputs, step), counted)
        for (gate, value), accuracy in zip(held, scores, strict=True):
            yield _row("clamp", _clamp_name(gate, value), step, accuracy=accuracy)
    question = int(needed.any(0).nonzero().max()) + 1 if needed is not None and needed.any() else inputs.shape[1]
    for (gate, value), other in held.items() if question <= last else ():
        answers = go_on(other, inputs, question, [states[question - 1]])[0].argmax(-1)
        scores = share(answers == _left(targets[None], inputs, question), _left(asked[None], inputs, question))
        yield _row("clamp", _clamp_name(gate, value), None, accuracy=scores)


def _row(operation: str, part: str, step: int | None, unit: int | None = None, **values: Any) -> dict[str, Any]:
    where = {"operation": operation, "part": part, "time_step": np.nan if step is None else step}
    nothing = dict.fromkeys(("wins", "effect", "accuracy"), np.nan)
    return {**where, "unit": np.nan if unit is None else unit, **nothing, **values}


def _figure(table: pd.DataFrame, draw: Draw, title: str) -> Figure:
    labels, lengths = list(dict.fromkeys(table["label"])), sorted(table["length"].unique())
    height = 2.3 + 0.8 / len(labels)
    figure, axes = curves.new_figure(len(labels), len(lengths), 2.8, height, share_x=False, share_y=False)
    picture = None
    for label, row in zip(labels, axes, strict=True):
        for length, ax in zip(lengths, row, strict=True):
            own = table[(table["label"] == label) & (table["length"] == length)]
            ax.set_visible(len(own) > 0)
            if len(own):
                picture = draw(own, ax, table)
                entitled(ax, tr(f"{labelled(label)}, length {length}"))
                ax.set_xlabel(named("time step"))
    if picture is not None:
        figure.colorbar(picture, ax=axes, aspect=40, pad=0.01)
    curves.finish(figure, title)
    return figure


def draw_patches(table: pd.DataFrame, ax: Axes, of_figure: pd.DataFrame) -> None:
    """Draw who wins against the step of the patch, a line for each state, that looks the same in all of a figure."""
    for name, look in shades(list(dict.fromkeys(of_figure["part"]))).items():
        by_step = table[table["part"] == name].pivot(index="time_step", columns="seed", values="wins")
        if len(by_step):
            means, lows, highs = np.array([interval(row.tolist()) for row in by_step.to_numpy()]).T
            ax.fill_between(by_step.index, lows, highs, color=look["color"], alpha=0.2, linewidth=0)
            said = named("whole state" if name == WHOLE else name.replace("_", " "))
            line = {"color": look["color"], "linestyle": look["linestyle"]}
            ax.plot(by_step.index, means, linewidth=1.6, label=said, **line)
    curves.score_axis(ax, share=True).set_xlim(1, max(2, table["time_step"].max()))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def draw_units(table: pd.DataFrame, ax: Axes, of_figure: pd.DataFrame) -> AxesImage:
    """Draw the effect of each unit of the first seed at each step, the strongest unit on top."""
    own = table[table["seed"] == table["seed"].iloc[0]].pivot(index="unit", columns="time_step", values="effect")
    own = own.loc[own.mean(axis=1).sort_values(ascending=False).index]
    largest = float(of_figure["effect"].max())
    picture = ax.imshow(own.to_numpy(), aspect="auto", interpolation="nearest", cmap="viridis", vmin=0, vmax=largest)
    ax.set_xticks(range(own.shape[1]), [f"{step:g}" for step in own.columns], fontsize=8)
    ax.set_yticks([])
    ax.set_ylabel(tr("hidden unit"))
    ax.grid(False)
    return picture


def draw_clamps(table: pd.DataFrame, ax: Axes, _: pd.DataFrame) -> AxesImage:
    """Draw what each clamp changes of the accuracy, at each step."""
    change = table.assign(change=table["accuracy"] - table["accuracy_without"])
    own = change.pivot_table(index="part", columns="time_step", values="change", sort=False)
    picture = ax.imshow(own.to_numpy(), aspect="auto", interpolation="nearest", cmap="RdBu", vmin=-1, vmax=1,
                        extent=(0.5, own.shape[1] + 0.5, len(own) - 0.5, -0.5))  # fmt: skip
    names = [part.split("=") for part in own.index]
    ax.set_yticks(range(len(own)), [f"{named(gate.replace('_', ' '))} {value}" for gate, value in names], fontsize=7.5)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.grid(False)
    return picture
