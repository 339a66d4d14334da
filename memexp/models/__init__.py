"""Who answers: cells, the networks made of them, and how their weights begin."""

from memexp.models.cells import (
    GRU,
    IRNN,
    LSTM,
    LSTM1997,
    SLSTM,
    SRN,
    Cell,
    Diagonal,
    IndRNN,
    MinGRU,
    MinLSTM,
    Parts,
    ResidualSRN,
    State,
)

__all__ = [
    "GRU", "IRNN", "LSTM", "LSTM1997", "SLSTM", "SRN", "Cell", "Diagonal", "IndRNN", "MinGRU", "MinLSTM", "Parts",
    "ResidualSRN", "State",
]  # fmt: skip
