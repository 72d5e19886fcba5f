"""Several statements of Cypher in one text, told apart by their semicolons."""

import re

_PARTS = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|//[^\n]*|/\*.*?\*/|;"""
    r"""|(?P<open>'|"|`|/\*)|[^'"`/;]+|/""",
    re.DOTALL,
)


def split_statements(text: str) -> tuple[list[str], str]:
    """Split a text at semicolons that are not in strings, names or comments.

    Args:
        text: statements, each but perhaps the last ended by a semicolon.

    Returns:
        The whole statements without their semicolons, empty ones and comments left
        out; and what follows the last.
    """
    found: list[str] = []
    parts: list[str] = []
    for match in _PARTS.finditer(text):
        part = match[0]
        if match["open"]:
            # It is not closed yet: all the rest belongs to it.
            parts.append(text[match.start() :])
            break
        if part == ";":
            found.append("".join(parts).strip())
            parts = []
        elif part.startswith(("//", "/*")):
            parts.append(" ")
        else:
            parts.append(part)
    return [each for each in found if each], "".join(parts).strip()
