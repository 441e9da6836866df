"""How a log line reads and where it goes: JSON for machines, one readable line for people, both on stderr.

Text that came from elsewhere may hold control characters: JSON escapes them by itself, text does it
here. Of an exception only classes and places are written, whoever logs it.
"""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import NamedTuple

from relay.common.errors import whereabouts
from relay.common.texts import printable
from relay.common.time import US_PER_SECOND, Micros, rfc3339

REPEAT_EVERY = 60.0  # seconds between two lines about the same surprise

log = logging.getLogger("relay")

Field = str | int | float | None
Told = tuple[int, str, str, Mapping[str, Field]]  # level, event, sentence, fields


class Line(NamedTuple):
    """What a line says; `fields` are the event's own."""

    at: Micros
    level: str
    process: str
    event: str
    message: str
    fields: Mapping[str, Field]


def as_json(line: Line) -> str:
    """Write one object: `ts` (RFC 3339, UTC), `level`, `process`, `event`, `message`, then the fields.

    No field has a name of those.
    """
    at, level, process, event, message, fields = line
    head = f'"ts":"{rfc3339(at)}","level":{_json(level)},"process":{_json(process)}'
    told = "".join([f',"{name}":{_json(value)}' for name, value in fields.items()])
    return f'{{{head},"event":{_json(event)},"message":{_json(message)}{told}}}'


def _json(value: Field) -> str:
    """A member's value; an encoder for whole objects takes twice as long for a line."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None:
        return "null"
    return str(value) if type(value) is int else json.dumps(value)


def as_text(line: Line) -> str:
    """Write one readable line: the sentence says what the fields say, but for the places of an exception."""
    trace = line.fields.get("trace")
    tail = f" [{trace}]" if trace else ""
    return printable(f"{rfc3339(line.at)[11:23]} {line.level:<7} {line.process}: {line.message}{tail}")


class LineFormatter(logging.Formatter):
    """Turns a record of ours (with `event` and `fields`) or of a library into one line."""

    def __init__(self, write: Callable[[Line], str], process: str) -> None:
        super().__init__()
        self._write, self._process = write, process

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as one line, whatever is in it."""
        at = int(record.created * US_PER_SECOND)
        told: Sequence[Told] | None = getattr(record, "told", None)
        if told is not None:
            return "\n".join(self._write(self._line(at, *one)) for one in told)
        fields: dict[str, Field] = dict(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1]:
            fields["trace"] = whereabouts(record.exc_info[1])
        event = getattr(record, "event", record.name)
        return self._write(self._line(at, record.levelno, event, record.getMessage(), fields))

    def _line(self, at: Micros, level: int, event: str, message: str, fields: Mapping[str, Field]) -> Line:
        return Line(at, logging.getLevelName(level).lower(), self._process, event, message, fields)


def configure(log_format: str, process: str) -> None:
    """Send every log line of this process to stderr, as "json" or "text"; "auto" is text on a terminal.

    Libraries are heard from WARNING up; urllib3 only from ERROR up, as its warnings quote URLs.
    """
    readable = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(as_text if readable else as_json, process))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    log.setLevel(logging.INFO)


def write_line(level: int, event: str, sentence: str, /, **fields: Field) -> None:
    """Log one sentence with its event name and fields."""
    if log.isEnabledFor(level):
        log.log(level, "%s", sentence, extra={"event": event, "fields": fields})


def write_lines(told: Sequence[Told]) -> None:
    """Log many sentences at once, a line each; a batch costs little more than one."""
    if told and log.isEnabledFor(logging.INFO):
        log.info("%d lines", len(told), extra={"told": told})


class Repeats:
    """Lets one line of a kind through per minute and counts those in between."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, ...], tuple[float, int]] = {}

    def let_through(self, *kind: str) -> int | None:
        """Return how many of this kind were held back since the last line; None: hold this one back too."""
        with self._lock:
            now = self._clock()
            last, held = self._kinds.get(kind, (-REPEAT_EVERY, 0))
            if now - last < REPEAT_EVERY:
                self._kinds[kind] = (last, held + 1)
                return None
            self._kinds[kind] = (now, 0)
            return held
