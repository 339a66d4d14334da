"""Writing with a language model, symbol by symbol; the state is carried. Axis letters as in `memexp.models.cells`."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Generator, Tensor

from memexp.results import record

log = logging.getLogger(__name__)


class Answers(Protocol):
    """What a model has to be able to do: `memexp.models.networks.SequenceModel` can."""

    @property
    def device(self) -> torch.device:
        """Where it is."""

    def answer(
        self, inputs: Tensor, states: Sequence[tuple[Tensor, ...]] | None = None
    ) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """Answer from a state: inputs [S, B, L] -> answers [S, B, A, K] and the last states."""


@torch.no_grad()
def go_on(
    model: Answers,
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
    logits, states = model.answer(codes.to(model.device)[None, None])
    for _ in range(length):
        likeliest = logits[0, 0, -1].double().topk(min(top_k, logits.shape[-1]))
        if not likeliest.values[0].isfinite():  # training diverged
            return
        shares = ((likeliest.values - likeliest.values[0]) / temperature).softmax(-1).cpu()  # the largest is 0 / t
        code = likeliest.indices[torch.multinomial(shares, 1, generator=generator).item()]  # type: ignore[index]
        yield int(code)
        logits, states = model.answer(code.expand(1, 1, 1), states)


def note(
    model: Answers,
    prefixes: Sequence[tuple[str, Tensor]],
    vocabulary: Sequence[str],
    length: int,
    epoch: int,
    folder: Path,
) -> None:
    """Let the first seed go on from each prefix, and note it in `record.WRITTEN`: epoch, tab, text.

    Each text is one line there, so a newline in it is noted as ``\\n``, and a backslash as two.

    Args:
        model: with an answer at every step.
        prefixes: what to go on from: a text, and the numbers of its characters.
        vocabulary: the characters.
        length: how many characters.
        epoch: how far the training is.
        folder: the run folder.
    """
    if not prefixes:
        return
    path = folder / record.WRITTEN
    before = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    # a run that goes on from a checkpoint of before memexp sealed may have written this already
    epochs = (line.partition("\t")[0] for line in before)
    kept = [line for line, of in zip(before, epochs, strict=True) if of.isdecimal() and int(of) < epoch]
    for prefix, codes in prefixes:
        text = prefix + "".join(vocabulary[code] for code in go_on(model, codes, length))
        text = text.replace("\\", r"\\").replace("\n", r"\n")
        log.info("epoch %d writes: %s", epoch, text)
        kept.append(f"{epoch}\t{text}")
    record.write_text(path, "".join(f"{line}\n" for line in kept))
