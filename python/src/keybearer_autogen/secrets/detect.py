"""Finds secrets in a text: by their shape, by what stands before them, by how random they look beside a word for secrets.

It errs towards finding. What it can't know is a secret that looks like a word in a sentence.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import log2


@dataclass(frozen=True)
class Found:
    """One place that holds a secret.

    Attributes:
        start: Where what has to go begins.
        end: Where it ends.
        values: The secrets in it: kind, start, end. Mostly one, which is all of it.
    """

    start: int
    end: int
    values: tuple[tuple[str, int, int], ...]


def find(text: str, *, broad: bool = False) -> list[Found]:
    """The places that hold secrets, from left to right, none overlapping.

    Args:
        text: Any text.
        broad: Also what is better left out of logs without being a secret for sure: all that follows `Bearer` and
            `Authorization:`.
    """
    shaped = list(_shaped(text))
    around = [*_assigned(text), *_random(text), *(_broad(text) if broad else ())]
    references = [match.span() for match in _REFERENCE.finditer(text)]
    return list(_merged(shaped, [one for one in around if not _touches(one, references)]))


_BEFORE = r"(?<![A-Za-z0-9])"

# Kinds by shape. The more special come first: where two begin at the same place, the first is the kind.
_SHAPES = [
    (kind, re.compile(pattern, re.DOTALL))
    for kind, pattern in [
        (
            "private-key",
            r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----.*?"
            r"(?:-----END (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        ),
        ("keybearer-token", _BEFORE + r"kb[to]_[A-Za-z0-9_-]{16,}"),
        ("stripe-key", _BEFORE + r"[sr]k_(?:live|test)_[A-Za-z0-9]{8,}"),
        ("stripe-webhook-secret", _BEFORE + r"whsec_[A-Za-z0-9+/=_-]{16,}"),
        ("anthropic-key", _BEFORE + r"sk-ant-[A-Za-z0-9_-]{16,}"),
        ("openai-key", _BEFORE + r"sk-(?=[A-Za-z_-]{0,64}[0-9])[A-Za-z0-9_-]{16,}"),
        ("github-token", _BEFORE + r"(?:gh[opsur]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),
        ("gitlab-token", _BEFORE + r"gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_-]{16,}"),
        ("slack-token", _BEFORE + r"(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}"),
        ("slack-webhook", r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{16,}"),
        ("aws-access-key-id", _BEFORE + r"A(?:KI|SI)A[A-Z0-9]{16}(?![A-Za-z0-9])"),
        ("google-api-key", _BEFORE + r"AIza[A-Za-z0-9_-]{35}"),
        ("google-oauth-token", _BEFORE + r"ya29\.[A-Za-z0-9_.-]{20,}"),
        ("sendgrid-key", _BEFORE + r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
        ("npm-token", _BEFORE + r"npm_[A-Za-z0-9]{30,}"),
        ("pypi-token", _BEFORE + r"pypi-[A-Za-z0-9_-]{40,}"),
        ("huggingface-token", _BEFORE + r"hf_[A-Za-z0-9]{30,}"),
        ("jwt", _BEFORE + r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,3}"),
    ]
]

# Words for something that is a secret however it looks; for those that may also be talked about; for several words.
_PASSWORDS = r"password|passwd|passwort|kennwort|passcode|pwd|contraseña|senha|(?<![A-Za-z])pin"
_KEYS = (
    r"secret|token|credentials?|api[ _-]?key|access[ _-]?key|secret[ _-]?key|private[ _-]?key|signing[ _-]?key|"
    r"auth[ _-]?key|account[ _-]?key|schlüssel|clave"
)
_PHRASES = r"pass ?phrase|seed phrase|recovery phrase|mnemonic|mot de passe"

# What stands before a value: a name that ends in such a word, and a sign that the value follows.
_ASSIGNED = re.compile(
    r"(?<![A-Za-z0-9_])[A-Za-z0-9_.-]{0,40}?"
    rf"(?:(?P<password>{_PASSWORDS})|(?P<phrase>{_PHRASES})|(?P<key>{_KEYS}))"
    r"(?:s|[0-9]{1,3}|[_-][A-Za-z0-9_-]{1,20})?[\"'`]?"
    r"(?:\s{0,4}(?P<sign>:=|=>|[:=])|\s{1,4}(?P<is>is|was|ist|lautet|est|es)\b\s{0,2}:?)\s{0,4}"
    r"(?:(?P<quote>[\"'`])(?P<quoted>[^\"'`\n]{1,512})(?P=quote)|(?P<bare>[^\s\"'`]{1,512}))",
    re.IGNORECASE,
)
_REST_OF_LINE = re.compile(r"[^\n]{0,512}")
_BEARER = re.compile(r"(?i)\bbearer\s{1,4}(?=[A-Za-z._~+/=-]{0,64}[0-9])([A-Za-z0-9._~+/=-]{12,})")
_BASIC = re.compile(r"(?i)\bauthorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?basic\s{1,4}([A-Za-z0-9+/_-]{6,}={0,2})")
_URL_PASSWORD = re.compile(r"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@]{0,128}:([^\s/@]{2,256})@")
_CONTEXT = re.compile(rf"(?i)(?:{_PASSWORDS}|{_KEYS}|{_PHRASES}|\bkey\b)")
_CONTEXT_REACH = 100
_RANDOM = re.compile(r"(?<![A-Za-z0-9_+/=-])[A-Za-z0-9_+/=-]{20,512}")
_OBJECT_ID = re.compile(r"[a-z]{2,8}_[A-Za-z0-9]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BROAD = re.compile(
    r"(?i)(?:\bbearer\s{1,4}|\b(?:proxy-)?authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:[a-z]{3,12}\s{1,4})?)"
    r"([^\s\"',;]{4,})"
)

# What was taken out before. A secret that is known by its shape is found in there all the same.
_REFERENCE = re.compile(r"\[secret(?: removed)?: ?[A-Za-z0-9_.:@-]{1,128}\]")

# What stands for a value, and is none.
_PLACEHOLDER = re.compile(
    r"(?i)(?:<[^>]*>?|\[(?:secret|redacted).*|\$\{?.*|\{\{.*|%[({].*|os\.(?:environ|getenv).*|env[(\[.:].*|"
    r"(.)\1*|none|null|nil|true|false|undefined|string|str|bytes|text|int|integer|required|optional|todo|tbd|n/a|"
    r"changeme|redacted)"
)


def _shaped(text: str) -> Iterator[tuple[str, int, int]]:
    for kind, shape in _SHAPES:
        for match in shape.finditer(text):
            yield kind, match.start(), match.end()


def _assigned(text: str) -> Iterator[tuple[str, int, int]]:
    """Values that something names as a secret: `password: …`, `the API key is …`."""
    for match in _ASSIGNED.finditer(text):
        group = "quoted" if match["quoted"] is not None else "bare"
        value, start = match[group], match.start(group)
        if group == "bare":
            value = value.rstrip(".,;)]}>")
        if match["phrase"] is not None and match["sign"] and group == "bare":
            # Words that belong together.
            line = _REST_OF_LINE.match(text, start)
            value = line[0].rstrip() if line else value
        if _PLACEHOLDER.fullmatch(value):
            continue
        if match["password"] is not None:
            kind, is_one = "password", bool(match["sign"]) or group == "quoted" or _is_odd(value)
        elif match["phrase"] is not None:
            kind, is_one = "passphrase", bool(match["sign"]) or group == "quoted" or _is_odd(value)
        else:
            kind, is_one = "secret", len(value) >= 6 and (_is_odd(value) or len(value) >= 20)
        if is_one and len(value) >= 3:
            yield kind, start, start + len(value)
    for kind, shape in (("bearer-token", _BEARER), ("credentials", _BASIC), ("url-password", _URL_PASSWORD)):
        for match in shape.finditer(text):
            if not _PLACEHOLDER.fullmatch(match[1]):
                yield kind, match.start(1), match.end(1)


def _random(text: str) -> Iterator[tuple[str, int, int]]:
    """What looks random, shortly after a word for secrets."""
    reached = -1
    words = _CONTEXT.finditer(text)
    word = next(words, None)
    for match in _RANDOM.finditer(text):
        while word is not None and word.end() <= match.start():
            reached = word.end() + _CONTEXT_REACH
            word = next(words, None)
        if match.start() < reached and _looks_random(match[0]) and not _in_address(text, match.start()):
            yield "secret", match.start(), match.end()


def _broad(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _BROAD.finditer(text):
        yield "secret", match.start(1), match.end(1)


def _touches(one: tuple[str, int, int], spans: list[tuple[int, int]]) -> bool:
    _, start, end = one
    at = bisect_right(spans, (start, end))
    return any(start < stop and begin < end for begin, stop in spans[max(0, at - 1) : at + 1])


def _is_odd(value: str) -> bool:
    """Whether it's more than a word."""
    letters = value.replace("-", "")
    return not letters.isalpha() or not (letters.islower() or letters.istitle() or letters.isupper())


def _in_address(text: str, at: int) -> bool:
    """Whether this place is inside a URL. What such a URL shows, its reader sees anyway."""
    before = text[max(0, at - 256) : at]
    return "://" in (before.split() or [""])[-1] and not before[-1:].isspace()


def _looks_random(token: str) -> bool:
    if _OBJECT_ID.fullmatch(token) or _UUID.fullmatch(token):
        return False
    has_both = any(char.isdigit() for char in token) and any(char.isalpha() for char in token)
    return has_both and _bits_per_character(token) >= 3.3


def _bits_per_character(token: str) -> float:
    return -sum(count / len(token) * log2(count / len(token)) for count in Counter(token).values())


def _merged(shaped: list[tuple[str, int, int]], around: list[tuple[str, int, int]]) -> Iterator[Found]:
    """Places that overlap, as one. A secret that is known by its shape is kept as it is, whatever else it stands in."""
    spans = sorted([(start, end, True, kind) for kind, start, end in shaped], key=lambda one: (one[0], -one[1]))
    spans += [(start, end, False, kind) for kind, start, end in around]
    spans.sort(key=lambda one: one[0])
    group: list[tuple[int, int, bool, str]] = []
    end = -1
    for span in spans:
        if group and span[0] >= end:
            yield _place(group)
            group = []
        group.append(span)
        end = max(end, span[1]) if len(group) > 1 else span[1]
    if group:
        yield _place(group)


def _place(group: list[tuple[int, int, bool, str]]) -> Found:
    known = [span for span in group if span[2]] or group
    values: list[tuple[str, int, int]] = []
    for start, end, _, kind in sorted(known, key=lambda span: (span[0], -span[1])):
        if not values or start >= values[-1][2]:
            values.append((kind, start, end))
    return Found(min(span[0] for span in group), max(span[1] for span in group), tuple(values))
