"""Texts of messages: made-up words, few of them often, so that an index of words has its work."""

import random
from collections.abc import Iterator

_SYLLABLES = ("ka", "lo", "mi", "ner", "tos", "ru", "bel", "dan", "vi", "sho", "pre", "gu")
_WORDS = tuple(
    one + two + three for one in _SYLLABLES for two in _SYLLABLES for three in ("", *_SYLLABLES)
)


def texts(count: int, text_len: int, *, seed: int) -> Iterator[str]:
    """So many texts, each `text_len` characters of ASCII; the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        words = [_WORDS[int(len(_WORDS) * chance.random() ** 3)] for _ in range(text_len // 3)]
        yield " ".join(words)[:text_len]
