"""Who answers: cells, the networks made of them, and how their weights begin."""

from memexp.models.cells import GRU, LSTM, SRN, Cell, MinGRU, MinLSTM, Parts, ResidualSRN, State

__all__ = ["GRU", "LSTM", "SRN", "Cell", "MinGRU", "MinLSTM", "Parts", "ResidualSRN", "State"]
