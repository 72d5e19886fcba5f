"""What users' statements may do: an allow-list of first words, clauses and functions.

It is decided on tokens alone, before and apart from parsing, so that no trick with
patterns or brackets hides a word from it.  What is not on a list is refused, with what
to do instead.
"""

from collections.abc import Sequence

from torua.core.cypher.tokens import Token, TokenKind, words
from torua.errors import UnprocessableError

QUERY_WORDS = words("MATCH OPTIONAL UNWIND WITH RETURN CREATE MERGE SET DELETE DETACH")
"""With which a query may begin."""

_TABLE_WORDS = frozenset({"NODE", "REL", "TABLE"})
_SETTINGS = "settings of the engine are the operator's"
_FILES = "files are not read or written by statements: use POST /graph/import/{table}"
_WHOLE = "each statement is a transaction of its own"
_HINTS = {
    "COPY": _FILES,
    "LOAD": _FILES,
    "EXPORT": "read it by statements; Accept: application/vnd.apache.arrow.stream",
    "IMPORT": "use POST /graph/import/{table}",
    "ATTACH": "other databases are not reachable from here",
    "USE": "the graph is named in the request, by its member graph",
    "INSTALL": "extensions are not for users to choose",
    "UNINSTALL": "extensions are not for users to choose",
    "UPDATE": "extensions are not for users to choose",
    "FORCE": "extensions are not for users to choose",
    "BEGIN": _WHOLE,
    "COMMIT": _WHOLE,
    "ROLLBACK": _WHOLE,
    "CHECKPOINT": "the database decides when to checkpoint",
    "CALL": "the schema is at GET /graph/schema; " + _SETTINGS,
    "EXPLAIN": "use POST /cypher/explain",
    "PROFILE": "use POST /cypher/explain",
    "ANALYZE": "statistics are the database's own affair",
    "COMMENT": "comments on tables are not kept",
    "FOREACH": "use UNWIND",
    "REMOVE": "use SET n.name = NULL",
}
_CREATE_HINTS = {
    "MACRO": "put the expression into the statement",
    "TYPE": "name the whole type where it is used",
    "SEQUENCE": "use ULIDs or gen_random_uuid()",
    "USER": "who may do what is configured at the nodes",
    "ROLE": "who may do what is configured at the nodes",
    "INDEX": "nodes are indexed by their primary keys",
    "GRAPH": "use PUT /graphs/{name}",
}

BEFORE_BRACKET = words(
    "IN AND OR XOR NOT WHERE MATCH CREATE MERGE RETURN WITH UNWIND DISTINCT BY CASE"
    " WHEN THEN ELSE LIMIT SKIP DELETE CONTAINS SHORTEST WSHORTEST TRAIL ACYCLIC"
    " HINT JOIN EXISTS STRUCT UNION DECIMAL MULTI_JOIN ON"
)
"""Keywords that an opening bracket may follow, without being functions."""

AGGREGATES = words(
    "COUNT SUM MIN MAX AVG COLLECT HISTOGRAM PERCENTILECONT PERCENTILEDISC COUNT_IF"
)
"""Functions of many rows."""

FUNCTIONS = AGGREGATES | words(
    "COST END_NODE ENDNODE ID KEYS LABEL LABELS LENGTH NULLIF START_NODE STARTNODE"
    " ABS ACOS ALL ANY ARRAY_APPEND ARRAY_CAT ARRAY_CONCAT ARRAY_CONTAINS"
    " ARRAY_COSINE_SIMILARITY ARRAY_CROSS_PRODUCT ARRAY_DISTANCE ARRAY_DOT_PRODUCT"
    " ARRAY_EXTRACT ARRAY_HAS ARRAY_INDEXOF ARRAY_INNER_PRODUCT ARRAY_POSITION"
    " ARRAY_PREPEND ARRAY_PUSH_BACK ARRAY_PUSH_FRONT ARRAY_SLICE"
    " ARRAY_SQUARED_DISTANCE ARRAY_VALUE ASIN ATAN ATAN2 BITSHIFT_LEFT BITSHIFT_RIGHT"
    " BITWISE_AND BITWISE_OR BITWISE_XOR BLOB CARDINALITY CAST CBRT CEIL CEILING"
    " CENTURY COALESCE CONCAT CONCAT_WS CONSTANT_OR_NULL CONTAINS COS COT COUNT_IF"
    " CURRENT_DATE CURRENT_TIMESTAMP DATE DATEPART DATETRUNC DATE_PART DATE_TRUNC"
    " DAYNAME DECODE DEGREES DURATION ELEMENT_AT ENCODE ENDS_WITH EPOCH_MS EQUALS"
    " ERROR EVEN FACTORIAL FLOOR GAMMA GEN_RANDOM_UUID GREATER_THAN"
    " GREATER_THAN_EQUALS GREATEST HASH IFNULL INITCAP INTERVAL IS_ACYCLIC IS_TRAIL"
    " LAST_DAY LCASE LEAST LEFT LESS_THAN LESS_THAN_EQUALS LEVENSHTEIN LGAMMA"
    " LIST_ANY_VALUE LIST_APPEND LIST_CAT LIST_CONCAT LIST_CONTAINS LIST_CREATION"
    " LIST_DISTINCT LIST_ELEMENT LIST_EXTRACT LIST_FILTER LIST_HAS LIST_HAS_ALL"
    " LIST_HAS_ANY LIST_INDEXOF LIST_MAX LIST_MIN LIST_POSITION LIST_PREPEND"
    " LIST_PRODUCT LIST_REDUCE LIST_REVERSE LIST_REVERSE_SORT LIST_SLICE LIST_SORT"
    " LIST_SUM LIST_TO_STRING LIST_TRANSFORM LIST_UNIQUE LN LOG LOG10 LOG2 LOWER LPAD"
    " LTRIM MAKE_DATE MAP MAP_EXTRACT MAP_KEYS MAP_VALUES MD5 MONTHNAME NEGATE NODES"
    " NONE NOT_EQUALS OCTET_LENGTH OFFSET PI POW POWER PREFIX PROPERTIES RADIANS RANDOM"
    " RAND RANGE REGEXP_EXTRACT REGEXP_EXTRACT_ALL REGEXP_FULL_MATCH REGEXP_MATCHES"
    " REGEXP_REPLACE REGEXP_SPLIT_TO_ARRAY RELATIONSHIPS RELS REPEAT REPLACE REVERSE"
    " RIGHT ROUND RPAD RTRIM SHA256 SIGN SIN SINGLE SIZE SPLIT SPLIT_PART SQRT"
    " STARTS_WITH STRING STRING_SPLIT STRING_TO_ARRAY STRUCT_EXTRACT STRUCT_PACK"
    " STR_SPLIT SUBSTR SUBSTRING SUFFIX TAN TIMESTAMP TIME_BUCKET TOLOWER TOUPPER"
    " TO_BLOB TO_BOOL TO_DATE TO_DAYS TO_DOUBLE TO_EPOCH_MS TO_FLOAT TO_HOURS TO_INT128"
    " TO_INT16 TO_INT32 TO_INT64 TO_INT8 TO_INTERVAL TO_MICROSECONDS TO_MILLISECONDS"
    " TO_MINUTES TO_MONTHS TO_SECONDS TO_STRING TO_TIMESTAMP TO_UINT128 TO_UINT16"
    " TO_UINT32 TO_UINT64 TO_UINT8 TO_UUID TO_YEARS TRIM TYPEOF UCASE UNION_EXTRACT"
    " UNION_TAG UNION_VALUE UPPER UUID"
)
"""Functions that compute with their arguments and do nothing else."""


def is_ddl(tokens: Sequence[Token]) -> bool:
    """Tell whether a statement defines tables.

    Args:
        tokens: of the statement, END included.
    """
    first, second = tokens[0].word, tokens[min(1, len(tokens) - 1)].word
    if first == "CREATE":
        return second in _TABLE_WORDS
    return first in ("DROP", "ALTER")


def check_allowed(tokens: Sequence[Token]) -> None:
    """Refuse what users' statements may not do.

    Args:
        tokens: of the statement, END included.

    Raises:
        UnprocessableError: says what is refused, and what to do instead.
    """
    first, second = tokens[0].word, tokens[min(1, len(tokens) - 1)].word
    if not first and tokens[0].kind is TokenKind.END:
        raise UnprocessableError("the statement is empty")
    _check_one(tokens)
    if first == "DETACH" and second != "DELETE":
        raise _refused("DETACH", "other databases are not reachable from here")
    if first == "CREATE" and second in _CREATE_HINTS:
        raise _refused(f"CREATE {second}", _CREATE_HINTS[second])
    if first in _HINTS and first != "REMOVE":
        raise _refused(first, _HINTS[first])
    if is_ddl(tokens):
        return
    if first not in QUERY_WORDS:
        what = tokens[0].text[:40]
        raise _refused(what, "a statement begins with a clause, such as MATCH")
    _check_words(tokens)


def _check_one(tokens: Sequence[Token]) -> None:
    """Refuse several statements in one."""
    for place, token in enumerate(tokens):
        if token.word == ";" and tokens[place + 1].kind is not TokenKind.END:
            raise _refused("More than one statement", "send them one by one")


def _check_words(tokens: Sequence[Token]) -> None:
    """Refuse clauses and functions, wherever in a query they stand."""
    for place, token in enumerate(tokens[:-1]):
        if not token.is_name:
            continue
        after = tokens[place + 1]
        dotted = place > 0 and tokens[place - 1].word == "."
        if token.word == "CALL" and after.is_name and not dotted:
            raise _refused("CALL", _HINTS["CALL"])
        if token.word == "LOAD" and after.word in ("FROM", "WITH") and not dotted:
            raise _refused("LOAD", _HINTS["LOAD"])
        if after.word == "(" and token.word not in BEFORE_BRACKET:
            _check_function(token)
        if token.name.lower().startswith("tv_"):
            raise UnprocessableError(
                f"names that begin with tv_ are the database's own: {token.name}"
            )


def _check_function(token: Token) -> None:
    """Refuse a function that is not on the list."""
    if token.name.upper() not in FUNCTIONS:
        raise UnprocessableError(f"there is no function {token.name} for statements")


def _refused(what: str, hint: str) -> UnprocessableError:
    """Make the error that says what is refused and what to do instead."""
    return UnprocessableError(f"{what} is not allowed: {hint}")
