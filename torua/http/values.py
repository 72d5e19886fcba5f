"""Values inside JSON and CBOR."""

from base64 import b64encode


def spell_value(value: bytes, *, raw: bool) -> dict[str, object]:
    """Spell a value as a member of a map.

    Args:
        value: any bytes.
        raw: whether bytes can stand there as they are (CBOR); else they are text where
            they are UTF-8, and base64 where they are not.
    """
    if raw:
        return {"value": value}
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value_base64": b64encode(value).decode()}
