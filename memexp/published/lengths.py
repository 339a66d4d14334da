"""What others published of lengths that were never trained on, from the records of ``experiment=published``."""

from memexp.published.claims import Claim

CLAIMS: tuple[Claim, ...] = ()
