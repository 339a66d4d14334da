import pytest
import torch

from memexp.errors import ConfigError
from memexp.tasks.text.characters import encode, opening, typed


@pytest.mark.parametrize(
    ("text", "vocabulary", "meant"),
    [(r"a\nb", "\nab", "a\nb"), (r"a\nb", "ab", r"a\nb"), (r"a\nb", "\n\\ab", r"a\nb"), ("a\nb", "\nab", "a\nb")],
)
def test_a_newline_can_be_typed_where_there_is_no_backslash(text: str, vocabulary: str, meant: str):
    assert typed(text, vocabulary) == meant


@pytest.mark.parametrize(("vocabulary", "begins"), [("\n ab", " "), ("\nab", "\n"), ("!ab", "!"), ("，不分开", "，")])
def test_what_follows_nothing_follows_white_space_if_there_is_any(vocabulary: str, begins: str):
    assert opening(vocabulary) == begins


def test_characters_have_the_numbers_of_their_places():
    codes = encode("banana", ["a", "b", "n"])
    assert codes.tolist() == [1, 0, 2, 0, 2, 0]
    assert codes.dtype == torch.long
    assert encode("", ["a"]).shape == (0,)


@pytest.mark.parametrize(("vocabulary", "codes"), [("\nab", [1, 0, 2, 0]), ("\n ab", [2, 1, 3, 0])])
def test_a_space_is_a_newline_where_there_is_no_other_white_space(vocabulary: str, codes: list[int]):
    assert encode("a b\n", list(vocabulary)).tolist() == codes


def test_a_character_that_is_not_known_is_named():
    with pytest.raises(ConfigError, match=r"^the text 'cab ' has .* not know: \[' ', 'c'\]; it knows 'ab'$"):
        encode("cab ", ["a", "b"])
