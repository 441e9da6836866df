"""How a log line reads: JSON for machines, or a readable line for people; both go to stderr.

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
from relay.common.time import US_PER_SECOND, rfc3339
from relay.telemetry.event import Event, Field

REPEAT_EVERY = 60.0  # seconds between two lines of events that repeat themselves
LEVELS = {number: name.lower() for name, number in logging.getLevelNamesMapping().items()}

log = logging.getLogger("relay")


class Line(NamedTuple):
    """What a line says of an event, or of a library's record."""

    level: int
    event: str
    message: str
    fields: Mapping[str, Field]


class Lines(list[Line]):
    """The message of a record of ours: many lines in one record leave in one write."""

    def __str__(self) -> str:
        return "\n".join(line.message for line in self)


def write(events: Sequence[Event]) -> None:
    """Log events, a line each; a batch costs little more than one."""
    threshold = log.getEffectiveLevel()
    lines = Lines()
    for event in events:
        level, key = event.severity(), event.repeat_key()
        if level < threshold:
            continue
        held_back = 0 if key is None else repeats.let_through(event.name, *key)
        if held_back is None:
            continue
        sentence = event.sentence()
        if held_back:
            sentence = f"{sentence[:-1]} ({held_back} more like it since the last such line)."
        lines.append(Line(level, event.name, sentence, event.fields()))
    if lines:
        log.log(max(line.level for line in lines), lines)


def as_json(ts: str, process: str, line: Line) -> str:
    """Write one object: `ts` (RFC 3339, UTC), `level`, `process`, `event`, `message`, the fields.

    No field has one of these names.
    """
    level, event, message, fields = line
    head = f'"ts":"{ts}","level":{_json(LEVELS[level])},"process":{_json(process)}'
    tail = "".join([f',"{name}":{_json(value)}' for name, value in fields.items()])
    return f'{{{head},"event":{_json(event)},"message":{_json(message)}{tail}}}'


def _json(value: Field) -> str:
    """A member's value; an encoder for whole objects takes twice as long for a line."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None:
        return "null"
    return str(value) if type(value) is int else json.dumps(value)


def as_text(ts: str, process: str, line: Line) -> str:
    """Write the sentence, which says what the fields say, and the places of an exception."""
    trace = line.fields.get("trace")
    tail = f" [{trace}]" if trace else ""
    return printable(f"{ts[11:23]} {LEVELS[line.level]:<7} {process}: {line.message}{tail}")


class LineFormatter(logging.Formatter):
    """Formats a record of ours, or of a library, one line for each event."""

    def __init__(self, write: Callable[[str, str, Line], str], process: str) -> None:
        super().__init__()
        self._write, self._process = write, process

    def format(self, record: logging.LogRecord) -> str:
        """Write the record's lines, whatever is in it."""
        lines: object = record.msg
        if not isinstance(lines, Lines):
            error = record.exc_info[1] if record.exc_info else None
            fields = {"trace": whereabouts(error)} if error else {}
            lines = [Line(record.levelno, record.name, record.getMessage(), fields)]
        ts = rfc3339(int(record.created * US_PER_SECOND))
        return "\n".join([self._write(ts, self._process, line) for line in lines])


def configure(log_format: str, process: str) -> None:
    """Send every log line of this process to stderr: "json", "text", or "auto": text on a terminal.

    Libraries are heard from WARNING up; urllib3 only from ERROR up, as its warnings quote URLs.
    """
    readable = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(as_text if readable else as_json, process))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    log.setLevel(logging.INFO)


class Repeats:
    """Lets one line of a kind through per minute and counts those in between."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, ...], tuple[float, int]] = {}

    def let_through(self, *kind: str) -> int | None:
        """How many of this kind were held back since the last line; None: this one is, too."""
        with self._lock:
            now = self._clock()
            last, held_back = self._kinds.get(kind, (-REPEAT_EVERY, 0))
            if now - last < REPEAT_EVERY:
                self._kinds[kind] = (last, held_back + 1)
                return None
            self._kinds[kind] = (now, 0)
            return held_back


repeats = Repeats()
