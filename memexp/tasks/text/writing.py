"""Writing with a language model, symbol by symbol; the state is carried. Axis letters as in `memexp.models.cells`."""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from memexp.models.networks import SequenceClassifier


@torch.no_grad()
def go_on(
    model: SequenceClassifier,
    codes: Tensor,
    length: int,
    temperature: float = 1.0,
    top_k: int = 1,
    generator: Generator | None = None,
) -> Iterator[int]:
    """Yield the symbols that follow, of the first seed; they end early where its logits are not finite.

    Args:
        model: with an answer at every step.
        codes: what to go on from, [L].
        length: how many symbols.
        temperature: logits are divided by it before drawing.
        top_k: draw among so many likeliest symbols; 1 is greedy.
        generator: of the drawing.
    """
    logits, states = model.answer(codes.to(model.head_bias.device)[None, None])
    for _ in range(length):
        likeliest = logits[0, 0, -1].double().topk(min(top_k, logits.shape[-1]))
        if not likeliest.values[0].isfinite():  # training diverged
            return
        shares = ((likeliest.values - likeliest.values[0]) / temperature).softmax(-1).cpu()  # the largest is 0 / t
        code = likeliest.indices[torch.multinomial(shares, 1, generator=generator).item()]  # type: ignore[index]
        yield int(code)
        logits, states = model.answer(code.expand(1, 1, 1), states)
