"""How many sequences until a task is learned (Hochreiter and Schmidhuber 1997), from the records."""

from memexp.published.claims import Claim

CLAIMS: tuple[Claim, ...] = ()
