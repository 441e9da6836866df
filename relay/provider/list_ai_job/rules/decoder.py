"""Decodes bodies, JSON or XML, into plain dicts, lists and texts, and checks `Data` texts.

Nothing here knows the meaning of an answer (`response_parser` does). Whatever the bytes are,
decoding ends in a value or in `UnreadableAnswer`.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn
from xml.parsers import expat

from relay.common.errors import UnreadableAnswer

MAX_DATA_DEPTH = 200  # of a `Data` that a webhook carries verbatim: what common JSON readers take
_MAX_XML_DEPTH = 32  # the provider's own answers go 4 deep

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
# Each match is one whole escape, so that `\\ud800`, a backslash and letters, is not taken for a
# surrogate.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F])|.)", re.DOTALL
)


def read_document(content_type: str | None, body: bytes) -> object:
    """Decode a body by its content type, or by its first byte where that names neither format.

    An XML element becomes a text, or a dict of its children where it has any, and a list where a
    name comes again; the root's own name is dropped. Raises `UnreadableAnswer`.
    """
    return _read_xml(body) if _is_xml(content_type, body) else _read_json(body)


def clean(text: str) -> str:
    """Replace NUL and lone surrogates, which databases refuse, by U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def data_is_json(text: str) -> bool:
    """Whether a text is strict JSON (RFC 8259), at most 200 levels deep, all of it valid UTF-8.

    Names may come twice and numbers may be of any length: the text is spliced, never written anew.
    """
    try:
        text.encode()
        value = _STRICT.decode(text)
    except (ValueError, RecursionError):
        return False
    return _is_within(MAX_DATA_DEPTH, value) and not any(match["lone"] for match in _ESCAPE.finditer(text))


def _is_xml(content_type: str | None, body: bytes) -> bool:
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type.endswith(("json", "xml")):
        return media_type.endswith("xml")
    return body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def _read_json(body: bytes) -> object:
    try:
        value: object = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer("The answer is not JSON that can be read.") from error
    return value


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _values(pairs: list[tuple[str, Any]]) -> list[Any]:
    """Stand a list in for an object, so that a name that comes again hides no depth."""
    return [value for _, value in pairs]


# `str` keeps a number as it is: no conversion, and no limit on its digits.
_STRICT = json.JSONDecoder(
    object_pairs_hook=_values, parse_int=str, parse_float=str, parse_constant=_refuse_constant
)


def _is_within(depth: int, value: object) -> bool:
    """Whether a tree of lists is at most so deep, without recursion, which depth could exhaust."""
    level: list[list[Any]] = _lists([value])
    for _ in range(depth):
        if not level:
            return True
        level = [child for parent in level for child in _lists(parent)]
    return not level


def _lists(values: Iterable[object]) -> list[list[Any]]:
    return [value for value in values if isinstance(value, list)]


def _read_xml(body: bytes) -> object:
    tree = _Tree()
    # Naming the encoding here overrides the document's own, which could name any of Python's
    # codecs.
    parser = expat.ParserCreate("UTF-8")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_doctype
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.text
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise UnreadableAnswer("The answer is not XML that can be read.") from error
    return tree.root


def _refuse_doctype(*_declaration: object) -> NoReturn:
    raise UnreadableAnswer("The answer is XML with a DOCTYPE or entities, which are refused.")


class _Tree:
    """Builds the tree from the parser's events; the stack has an element's children and text."""

    def __init__(self) -> None:
        self.root: object = None
        self._open: list[tuple[dict[str, list[object]], list[str]]] = []

    def start(self, _name: str, _attributes: dict[str, str]) -> None:
        if len(self._open) == _MAX_XML_DEPTH:
            raise UnreadableAnswer(f"The answer is XML deeper than {_MAX_XML_DEPTH} levels.")
        self._open.append(({}, []))

    def text(self, text: str) -> None:
        self._open[-1][1].append(text)

    def end(self, name: str) -> None:
        children, texts = self._open.pop()
        value: object = "".join(texts).strip()
        if children:
            value = {child: found[0] if len(found) == 1 else found for child, found in children.items()}
        if self._open:
            self._open[-1][0].setdefault(name, []).append(value)
        else:
            self.root = value
