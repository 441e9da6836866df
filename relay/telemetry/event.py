"""What a log event is; `events` declares each."""

from dataclasses import dataclass
from logging import INFO
from typing import ClassVar, dataclass_transform

Field = str | int | float | None


@dataclass_transform()
class Event:
    """Something that operators may want to know of; `name` and `level` are those of its log line.

    A subclass is a dataclass. It overrides a method where the default does not do.
    """

    name: ClassVar[str]
    level: ClassVar[int]
    text: ClassVar[str]

    def __init_subclass__(cls, *, name: str, level: int = INFO) -> None:
        cls.name, cls.level = name, level
        dataclass(cls)  # not frozen: that takes four times as long to make, hundreds of times a second

    def severity(self) -> int:
        """The level, where it depends on the fields."""
        return self.level

    def sentence(self) -> str:
        """What happened, in words: the class's `text` with the fields filled in."""
        return self.text.format_map(vars(self))

    def fields(self) -> dict[str, Field]:
        """The event's own members of a JSON line; a `why` stands in the sentence only."""
        return {name: value for name, value in vars(self).items() if name != "why"}

    def repeat_key(self) -> tuple[str, ...] | None:
        """Of events that share a class and a key, one a minute is logged; None: all are."""
        return None
