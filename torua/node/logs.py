"""How log events become lines: text for people, or flat JSON for machines.

Every line has the time, the level, the node and, where a request caused it, the request
id.  Twisted's own chatter is left out below the level of a warning.
"""

import json
from datetime import UTC, datetime
from typing import Any, TextIO

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
)
from twisted.python.failure import Failure

CHATTY = ("twisted", "klein", "treq", "log_legacy")
"""Namespaces that speak of their own life at info; it is nobody's news."""

OWN = frozenset(
    {"log_format", "log_level", "log_time", "log_namespace", "log_source", "log_text"}
    | {"log_logger", "log_flattened", "log_failure", "log_system", "log_legacy"}
    | {"time", "system", "message", "isError", "format", "failure", "why", "log_trace"}
)
"""Fields of an event that a line spells otherwise, or not at all."""


def make_observer(style: str, level: str, node: str, out: TextIO) -> ILogObserver:
    """Make what writes the log of a node.

    Args:
        style: ``text`` or ``json``.
        level: the least severity that is written, a name of `LogLevel`.
        node: the node's name; stands in every line.
        out: where lines go.
    """
    spell = json_line if style == "json" else text_line
    predicate = LogLevelFilterPredicate(LogLevel.levelWithName(level))
    for namespace in CHATTY:
        predicate.setLogLevelForNamespace(namespace, LogLevel.warn)
    observer = FileLogObserver(out, lambda event: spell(event, node))
    return FilteringLogObserver(observer, [predicate])


def text_line(event: LogEvent, node: str) -> str:
    """Spell an event for people: time, level, node, sentence, request.

    Args:
        event: what was logged.
        node: the node's name.
    """
    request = event.get("request_id")
    parts = [_time(event), _level(event).ljust(5), f"[{node}]", _sentence(event)]
    if request:
        parts.append(f"request_id={request}")
    trace = _traceback(event)
    return " ".join(parts) + (f"\n{trace}" if trace else "") + "\n"


def json_line(event: LogEvent, node: str) -> str:
    """Spell an event as one flat JSON object on one line.

    Args:
        event: what was logged.
        node: the node's name.
    """
    line: dict[str, object] = {
        "time": _time(event),
        "level": _level(event),
        "node": node,
        "logger": event.get("log_namespace", ""),
        "message": _sentence(event),
    }
    line |= {
        name: value if isinstance(value, int | float | str | None) else str(value)
        for name, value in event.items()
        if name not in OWN and name not in line
    }
    trace = _traceback(event)
    if trace:
        line["traceback"] = trace
    return json.dumps(line, ensure_ascii=False) + "\n"


def _time(event: LogEvent) -> str:
    """Spell when it happened: UTC, milliseconds."""
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _level(event: LogEvent) -> str:
    """Name the severity."""
    level: Any = event.get("log_level", LogLevel.info)
    return str(level.name)


def _sentence(event: LogEvent) -> str:
    """Return the sentence on one line, so that no caller can forge another line."""
    return formatEvent(event).replace("\r", "\\r").replace("\n", "\\n")


def _traceback(event: LogEvent) -> str:
    """Return the traceback that belongs to it, if any."""
    failure = event.get("log_failure")
    return failure.getTraceback() if isinstance(failure, Failure) else ""
