"""Which tracked files a pattern means: a small matcher of the demo's own.

The proof must not trust the pattern code that it is there to judge, so this one shares nothing
with it: each pattern becomes one regular expression. It knows what the demo's agents send, and
refuses the rest of the language rather than guess at it.
"""

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"[*?\[\]{}\\]")
_TOKEN = re.compile(r"\\(.)|(\*)|(\?)|(\[[!^]?\]?[^\]\\]*\])|([^*?\[{}\\])", re.DOTALL)


def escape(path: str) -> str:
    """The pattern that means exactly this path."""
    return _SPECIAL.sub(r"\\\g<0>", path)


def expand(patterns: Iterable[str], files: Sequence[str]) -> tuple[str, ...]:
    """Those of `files` that at least one of the patterns covers, in the order of `files`.

    Raises:
        ValueError: A pattern uses more than literals, `\\`, `*`, `?`, `[...]` and `**`.
    """
    regexes = [_regex(pattern) for pattern in patterns]
    return tuple(path for path in files if any(regex.fullmatch("/" + path) for regex in regexes))


def covers(patterns: Iterable[str], path: str) -> bool:
    """Whether at least one of the patterns covers `path`."""
    return bool(expand(patterns, (path,)))


def _regex(pattern: str) -> re.Pattern[str]:
    """Matches paths with a `/` before them."""
    segments = pattern.split("/")
    if "" in segments or "." in segments or ".." in segments:
        raise ValueError(f"the demo cannot expand {pattern!r}")
    parts = []
    for ordinal, segment in enumerate(segments):
        if segment != "**":
            parts.append("/" + _segment(pattern, segment))
        elif ordinal < len(segments) - 1:
            parts.append("(?:/[^/]+)*")
        else:
            # The directory itself counts: somebody may be about to put a file in its place.
            parts.append("(?:/.+)?" if ordinal else "/.+")
    # Whoever names a directory without wildcards has everything below it.
    literal = not re.search(r"(?<!\\)(?:\\\\)*[*?\[]", segments[-1])
    return re.compile("".join(parts) + ("(?:/.*)?" if literal else ""), re.DOTALL)


def _segment(pattern: str, segment: str) -> str:
    parts = []
    at = 0
    while at < len(segment):
        token = _TOKEN.match(segment, at)
        if token is None:
            raise ValueError(f"the demo cannot expand {pattern!r}")
        escaped, star, question, charset, plain = token.groups()
        if star:
            parts.append("[^/]*")
        elif question:
            parts.append("[^/]")
        elif charset:
            negated = charset[1] in "!^"
            inner = charset[1 + negated : -1].replace("[", r"\[").replace("]", r"\]")
            parts.append(f"[{'^/' if negated else ''}{inner}]")
        else:
            parts.append(re.escape(escaped or plain))
        at = token.end()
    return "".join(parts)
