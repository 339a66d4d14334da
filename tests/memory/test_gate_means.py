import math

import pandas as pd
import pytest
import torch
from helpers import KINDS, classifier

from memexp.memory.gate_means import REST, GateMeans, means


def test_means_are_those_of_gates_that_are_set_by_hand():
    """Without weights a gate is the sigmoid of its bias, a number for each seed and unit."""
    model = classifier(KINDS["LSTM"], [0, 1], widths=[3]).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.cell.b[1, model.cell.gates.index("forget_gate"), 0] = math.log(3)  # sigmoid: 0.75
    inputs = torch.zeros(4, 5, dtype=torch.long)
    first = torch.zeros(4, 5, dtype=torch.bool)
    first[:, 0] = True
    found = means(model, inputs, {"first": first, "never": torch.zeros_like(first)})
    assert found.keys() == {"input_gate", "forget_gate", "output_gate"}
    assert found["forget_gate"]["first"].tolist() == pytest.approx([0.5, (0.75 + 0.5 + 0.5) / 3])
    assert found["input_gate"]["first"].tolist() == [0.5, 0.5]
    assert found["output_gate"]["never"].isnan().all()


def test_means_tell_tokens_apart_and_join_layers():
    """The input weights of one symbol open the gate of the lower layer; that of the upper one stays at one half."""
    model = classifier(KINDS["GRU reset before"], [0], embedding_size=0, widths=[2, 3]).double()
    lower = model.stack[0][0].cell
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        lower.W[:, lower.gates.index("update_gate"), 7] = math.log(9)  # sigmoid: 0.9
    inputs = torch.tensor([[7, 0, 0, 7]])
    found = means(model, inputs, {"seven": inputs == 7, "zero": inputs == 0})["update_gate"]
    assert {kind: float(mean) for kind, mean in found.items()} == pytest.approx({"seven": 0.7, "zero": 0.5})


def test_a_seed_is_summed_up_by_its_gates_after_training():
    rows = [
        ("a", 0, when, gate, kind, mean)
        for when, gate, kind, mean in (
            ("before", "forget_gate", REST, 0.5), ("after", "forget_gate", REST, 0.9),
            ("after", "forget_gate", "zero", 0.1), ("after", "input_gate", REST, 0.2),
        )
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["run", "seed", "when", "gate", "kind", "mean"])
    (row,) = GateMeans().summed_up(table).to_dict("records")
    assert (row["forget_gate"], row["input_gate"]) == (0.9, 0.2)
    assert math.isnan(row["update_gate"])
