"""Texts that several rooms write alike."""


def printable(text: str) -> str:
    """Escape what a terminal would obey, or could not show."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
