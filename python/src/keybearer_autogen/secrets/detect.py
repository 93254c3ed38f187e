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
    around = [*_named(text), *_options(text), *_sent(text), *_random(text), *(_broad(text) if broad else ())]
    references = [match.span() for match in _REFERENCE.finditer(text)]
    return list(_merged(shaped, [one for one in around if not _touches(one, references)]))


# A terminal's color: `ESC[1;31m`. What looks back has one length each.
_COLOR = "|".join(rf"(?<=\x1b\[[0-9;]{{{length}}}m)" for length in range(17))
# Where a word may begin: not in the middle of a longer one, unless what is before it stands for another character, as
# `%3D` and `\n` do. It's asked where a beginning is, and nowhere else.
_BEFORE = rf"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{{2}})|(?<=\\[nrt])|(?<=[\[0-9;]m)(?:{_COLOR}))"


def _word(beginning: str, rest: str) -> str:
    """What begins and goes on like this, where a word may begin."""
    return f"(?={beginning}){_BEFORE}{beginning}{rest}"


# Kinds by shape. The more special come first: where two begin at the same place, the first is the kind.
_SHAPES = [
    (kind, re.compile(pattern, re.DOTALL))
    for kind, pattern in [
        (
            "private-key",
            r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----.*?"
            r"(?:-----END (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        ),
        ("keybearer-token", _word(r"kb[tom]_", r"[A-Za-z0-9_-]{16,}")),
        ("stripe-key", _word(r"[sr]k_(?:live|test)_", r"[A-Za-z0-9]{8,}")),
        ("stripe-webhook-secret", _word(r"whsec_", r"[A-Za-z0-9+/=_-]{16,}")),
        ("anthropic-key", _word(r"sk-ant-", r"[A-Za-z0-9_-]{16,}")),
        ("openai-key", _word(r"sk-", r"(?=[A-Za-z_-]{0,64}[0-9])[A-Za-z0-9_-]{16,}")),
        ("github-token", _word(r"gh[opsur]_", r"[A-Za-z0-9]{20,}")),
        ("github-token", _word(r"github_pat_", r"[A-Za-z0-9_]{20,}")),
        ("gitlab-token", _word(r"gl(?:pat|dt|rt|cbt|ptt|soat)-", r"[A-Za-z0-9_-]{16,}")),
        ("slack-token", _word(r"(?:xox[abeoprs]|xapp)-", r"[A-Za-z0-9-]{10,}")),
        ("slack-webhook", r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{16,}"),
        ("aws-access-key-id", _word(r"A(?:KI|SI)A", r"[A-Z0-9]{16}(?![A-Za-z0-9])")),
        ("google-api-key", _word(r"AIza", r"[A-Za-z0-9_-]{35}")),
        ("google-oauth-token", _word(r"ya29\.", r"[A-Za-z0-9_.-]{20,}")),
        ("sendgrid-key", _word(r"SG\.", r"[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}")),
        ("npm-token", _word(r"npm_", r"[A-Za-z0-9]{30,}")),
        ("pypi-token", _word(r"pypi-", r"[A-Za-z0-9_-]{40,}")),
        ("huggingface-token", _word(r"hf_", r"[A-Za-z0-9]{30,}")),
        # Its first part ends where another one may begin, so that a run of beginnings is read once.
        (
            "jwt",
            _word(r"eyJ", r"(?:(?![_-]eyJ)[A-Za-z0-9_-]){8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,3}"),
        ),
    ]
]

KINDS_BY_SHAPE = frozenset(kind for kind, _ in _SHAPES)
"""The kinds that are known by their shape: what vendors hand out, rather than what people think up."""

# Words for something that is a secret however it looks; for those that may also be talked about; for several words.
_PASSWORDS = r"password|passwd|passwort|kennwort|passcode|pwd|contraseña|senha|(?<![A-Za-z])pin|(?-i:(?<=_)PASS)"
_KEYS = (
    r"secret|token|credentials?|api[ _-]?key|access[ _-]?key|secret[ _-]?key|private[ _-]?key|signing[ _-]?key|"
    r"auth[ _-]?key|account[ _-]?key|schlüssel|clave"
)
_PHRASES = r"pass ?phrase|seed phrase|recovery phrase|mnemonic|mot de passe"
# A word for much else too: tests pass, and passes are boarded with.
_PASSES = r"(?<![A-Za-z])pass|(?-i:(?<=[a-z])Pass)"

_WORD = (
    rf"(?:(?P<password>{_PASSWORDS})|(?P<phrase>{_PHRASES})|(?P<key>{_KEYS})|(?P<short>{_PASSES}))"
    r"(?:(?P<plural>s)|[0-9]{1,3}|(?P<more>[_-][A-Za-z0-9_-]{1,20}))?"
)
# What Markdown puts around words.
_MARKS = r"(?:\*{1,3}|_{1,3}|~~|`)"

# What stands before a value: a name that ends in such a word, and a sign that the value follows, bold in Markdown with
# the sign or without it. All that repeats in here has a limit, and values are read once, so that a text is read in time
# that grows with its length alone.
_NAME = re.compile(
    rf"{_WORD}(?:\\{{0,8}}[\"'`]|{_MARKS})?"
    r"(?:\s{0,4}(?P<sign>:=|=>|={1,3}|:|：)|\s{1,4}(?:is|was|ist|lautet|est|es)\b\s{0,2}(?P<colon>:?))"
    rf"(?:{_MARKS}\s{{1,4}}|\s{{0,4}})",
    re.IGNORECASE,
)
# A value by itself in a block of code, indented or fenced.
_BLOCK = re.compile(
    r"\s{1,12}(?P<indented>\S{3,256})[ \t]{0,4}(?:\n|\Z)|\s{0,4}```[a-z]{0,12}\s{1,12}(?P<fenced>\S{3,256})\s{1,4}```"
)
# The option of a command, whose value follows without a sign.
_OPTION = re.compile(rf"(?<![A-Za-z0-9_-])--?(?:[A-Za-z0-9]{{1,20}}[_-]){{0,4}}{_WORD}[ \t]{{1,4}}", re.IGNORECASE)
# The end of a name for what is known of a secret, and is none: `token_env`, `secret_name`.
_ABOUT = re.compile(
    r"(?i)[_-](?:env|var|name|file|path|type|kind|counts?|limit|budget|usage|rate|ur[il]|endpoint|ttl|length|size|"
    r"field|header|policy|stdin|expiry|expires(?:[_-](?:in|at))?)$"
)
_CHARACTERS_MIN = 3
_NUMBER = re.compile(r"[0-9][0-9_.,]*")
# JSON within JSON has backslashes before its quotes.
_QUOTE = re.compile(r"(\\{0,8})([\"'`])")
_SEVERAL = re.compile(r"[\[({]{1,8}\\{0,8}[\"'`]")
# Up to a space, to a quote that ends something, or to the next name.
_BARE = re.compile(
    r"(?:[^\s\"'`,;&]+|[\"'`](?![\s,;)\]}>]|\Z)|"
    r"[,;&](?!\\{0,8}[\"'`]?[A-Za-z_][A-Za-z0-9_.-]{0,63}\\{0,8}[\"'`]?[:=]))*"
)
_BOLD = ("***", "**", "*", "__")
_LINE_REACH = 128
_AFTER_BARE = ".,;&)]}>\"'`\\"
_BEARER = re.compile(r"(?i)\bbearer\s{1,4}(?=[A-Za-z._~+/=-]{0,64}[0-9])([A-Za-z0-9._~+/=-]{12,})")
_AUTHORIZATION = r"\b(?:proxy-)?authorization(?:\\{0,8}[\"'])?\s{0,4}[:=]\s{0,4}(?:\\{0,8}[\"'])?"
_BASIC = re.compile(rf"(?i){_AUTHORIZATION}basic\s{{1,4}}([A-Za-z0-9+/_-]{{6,}}={{0,2}})")
# A password that wasn't written as URLs have it may hold an @: the last one ends it.
_URL_PASSWORD = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@]{0,128}:(?!@)([^\s/@]*(?:@[^\s/@\"'`<>,;]*)*)@"
)
_CONTEXT = re.compile(rf"(?i)(?:{_PASSWORDS}|{_KEYS}|{_PHRASES}|\bkey\b)")
_CONTEXT_REACH = 100
_RANDOM_MIN = 20
_RANDOM = re.compile(rf"(?<![A-Za-z0-9_+/=-])[A-Za-z0-9_+/=-]{{{_RANDOM_MIN},}}")
_OBJECT_ID = re.compile(r"[a-z]{2,8}_[A-Za-z0-9]+")
# Of words, as people name folders.
_PATH = re.compile(r"/?(?:[A-Z]?[a-z0-9_-]+/)+[A-Z]?[a-z0-9_-]*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BROAD = re.compile(
    rf"(?i)(?:\bbearer\s{{1,4}}|{_AUTHORIZATION}(?:[a-z]{{3,12}}\s{{1,4}})?)"
    r"((?:[^\s\"',;\\]|\\+(?![\\\"'])){4,})"
)

# What was taken out before. A secret that is known by its shape is found in there all the same.
_REFERENCE = re.compile(r"\[secret(?: removed(?:, not stored)?)?: ?[A-Za-z0-9_.:@-]{1,128}\]")

# What stands for a value, and is none: what begins and ends in its own way, and words.
_ELSEWHERE = re.compile(
    r"<[^<>\n]{0,64}>|\[(?i:secret|redacted)[^\]\n]{0,160}\]|"
    r"\$?\{\{[^{}\n]{0,128}\}\}|\$\{(?:env:)?[A-Za-z_][A-Za-z0-9_.]{0,127}\}|\$\([^()\n]{0,256}\)|\$[A-Z_][A-Z0-9_]*|"
    r"%\([A-Za-z0-9_.]{1,64}\)s?|%\{[A-Za-z0-9_.:]{1,64}\}|"
    r"(?:os\.)?(?:environ(?:\.get)?|getenv)[\[(][^\])\n]{0,128}[\])]|"
    r"(?:process\.)?env(?:[.:][A-Za-z_][A-Za-z0-9_]{0,63}|[\[(][\"']?[A-Za-z0-9_]{1,64}[\"']?[\])])"
)
_NO_VALUE = re.compile(
    r"(?i)(?:(.)\1*|none|null|nil|true|false|undefined|string|str|bytes|text|int|integer|required|optional|todo|tbd|n/a|"
    r"changeme|redacted)"
)


def _shaped(text: str) -> Iterator[tuple[str, int, int]]:
    for kind, shape in _SHAPES:
        for match in shape.finditer(text):
            yield kind, match.start(), match.end()


def _named(text: str) -> Iterator[tuple[str, int, int]]:
    """Values that something names as a secret: `password: …`, `the API key is …`."""
    at = 0
    while (name := _NAME.search(text, at)) is not None:
        at = name.end()
        if (name["more"] and _ABOUT.search(name["more"])) or _SEVERAL.match(text, at):
            continue
        start, end, quoted = _value(text, at)
        elsewhere = _ELSEWHERE.match(text, start)
        # Without quotes it may have spaces in it: `<your password>`.
        if elsewhere is not None and (elsewhere.end() == end or elsewhere.end() > end and not quoted):
            at = elsewhere.end()
            continue
        said = bool(name["sign"] or name["colon"])
        if name["phrase"] and said and not quoted:
            # Words that belong together.
            end = start + len(_line(text, start).rstrip())
        kind = _kind(name, text[start:end], said or quoted)
        if kind is not None:
            yield kind, start, end
            at = end


def _options(text: str) -> Iterator[tuple[str, int, int]]:
    """Values of a command's options: `--password …`. Words in a sentence about one are left alone."""
    for option in _OPTION.finditer(text):
        # The next option, or a name for what is known of a secret.
        if text.startswith("-", option.end()) or (option["more"] and _ABOUT.search(option["more"])):
            continue
        start, end, quoted = _value(text, option.end())
        elsewhere = _ELSEWHERE.match(text, start)
        if elsewhere is not None and elsewhere.end() >= end:
            continue
        kind = _kind(option, text[start:end], quoted or option["short"] is not None)
        if kind is not None:
            yield kind, start, end


def _value(text: str, at: int) -> tuple[int, int, bool]:
    """The value that begins here: its start, its end, and whether it stands in quotes."""
    block = _BLOCK.match(text, at)
    if block is not None:
        return *block.span("fenced" if block["fenced"] else "indented"), False
    if text.startswith("```", at):
        # More than a value.
        return at, at, False
    quote = _QUOTE.match(text, at)
    if quote is not None:
        at = quote.end()
        end = _closing(text, at, len(quote[1]), quote[2])
        if end is not None and end - at >= _CHARACTERS_MIN:
            return at, end, True
    bare = _BARE.match(text, at)
    start, end = at, at + len(bare[0].rstrip(_AFTER_BARE) if bare else "")
    return *_without_marks(text, start, end), False


def _without_marks(text: str, start: int, end: int) -> tuple[int, int]:
    """A value without Markdown's bold type around it, or its end, where that began on the line before it."""
    before = text[max(0, start - _LINE_REACH) : start].rpartition("\n")[2]
    for mark in _BOLD:
        if not text.startswith(mark, end - len(mark)) or end - start < len(mark) + _CHARACTERS_MIN:
            continue
        if text.startswith(mark, start) and end - start >= 2 * len(mark) + _CHARACTERS_MIN:
            return start + len(mark), end - len(mark)
        if len(mark) > 1 and before.count(mark) % 2:
            return start, end - len(mark)
    return start, end


def _closing(text: str, start: int, depth: int, mark: str) -> int | None:
    """Where a value in quotes ends, on its line. `depth` is how many backslashes stand before its quotes."""
    at = text.find(mark, start)
    while at >= 0:
        slashes = at
        while slashes > start and text[slashes - 1] == "\\":
            slashes -= 1
        if _closes(at - slashes, depth):
            end = max(slashes, at - depth)
            return end if text.find("\n", start, end) < 0 else None
        at = text.find(mark, at + 1)
    return None


def _closes(slashes: int, depth: int) -> bool:
    """Whether a quote after so many backslashes ends a value, rather than being a part of it."""
    while depth and slashes >= depth:
        slashes, depth = (slashes - 1) // 2, (depth - 1) // 2
    # Fewer than at its start: what is around the value ends.
    return depth > 0 or slashes % 2 == 0


def _line(text: str, start: int) -> str:
    """The rest of a line."""
    end = text.find("\n", start)
    return text[start:] if end < 0 else text[start:end]


def _kind(name: re.Match[str], value: str, said: bool) -> str | None:
    """What kind of secret a value with this name is, if it's one. `said`: a sign or quotes say that it's a value."""
    if len(value) < _CHARACTERS_MIN or _NO_VALUE.fullmatch(value):
        return None
    if name["password"] or name["phrase"]:
        return ("password" if name["password"] else "passphrase") if said or _is_odd(value) else None
    if name["short"]:
        return "password" if said and len(value) >= 6 and (len(value) > 64 or _is_mixed(value)) else None
    if name["plural"] and _NUMBER.fullmatch(value):
        return None
    return "secret" if len(value) >= 6 and (len(value) >= 20 or _is_odd(value)) else None


def _sent(text: str) -> Iterator[tuple[str, int, int]]:
    """What logs somebody in, in a header or an address."""
    for kind, shape in (("bearer-token", _BEARER), ("credentials", _BASIC), ("url-password", _URL_PASSWORD)):
        for match in shape.finditer(text):
            if not _ELSEWHERE.fullmatch(match[1]) and not _NO_VALUE.fullmatch(match[1]):
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
    letters = value.replace("-", "").replace("'", "")
    return not letters.isalpha() or not (letters.islower() or letters.istitle() or letters.isupper())


def _is_mixed(value: str) -> bool:
    """Whether it has letters and digits, and is no path."""
    has_both = any(char.isalpha() for char in value) and any(char.isdigit() for char in value)
    return has_both and "/" not in value and "::" not in value


def _in_address(text: str, at: int) -> bool:
    """Whether this place is inside a URL. What such a URL shows, its reader sees anyway."""
    before = text[max(0, at - 256) : at]
    return "://" in (before.split() or [""])[-1] and not before[-1:].isspace()


def _looks_random(token: str) -> bool:
    if _OBJECT_ID.fullmatch(token) or _UUID.fullmatch(token):
        return False
    if _PATH.fullmatch(token):
        return any(len(piece) >= _RANDOM_MIN and _looks_random(piece) for piece in token.split("/"))
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
