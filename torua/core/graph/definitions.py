"""What statements that define a schema ask for, as values."""

from msgspec import Struct

from torua.core.graph.types import Cell, Type


class ColumnDefinition(Struct, frozen=True):
    """One property: its name, its type, and the value where a row has none."""

    name: str
    type: Type
    default: Cell = None


class CreateNodeTable(Struct, frozen=True, tag="create_node_table"):
    """CREATE NODE TABLE.  ``if_not_exists``: no error where there is such a table."""

    name: str
    columns: tuple[ColumnDefinition, ...]
    primary_key: str
    if_not_exists: bool = False


class CreateRelTable(Struct, frozen=True, tag="create_rel_table"):
    """CREATE REL TABLE.

    Attributes:
        name: the table's.
        pairs: names of the node tables that it goes from and to.
        columns: its properties.
        multiplicity: as in `torua.core.graph.schema.RelTable`.
        if_not_exists: no error where there is such a table.
    """

    name: str
    pairs: tuple[tuple[str, str], ...]
    columns: tuple[ColumnDefinition, ...] = ()
    multiplicity: str = "MANY_MANY"
    if_not_exists: bool = False


class DropTable(Struct, frozen=True, tag="drop_table"):
    """DROP TABLE.  ``if_exists``: no error where there is none."""

    name: str
    if_exists: bool = False


class RenameTable(Struct, frozen=True, tag="rename_table"):
    """ALTER TABLE … RENAME TO …."""

    name: str
    to: str


class AddColumn(Struct, frozen=True, tag="add_column"):
    """ALTER TABLE … ADD a property."""

    table: str
    column: ColumnDefinition
    if_not_exists: bool = False


class DropColumn(Struct, frozen=True, tag="drop_column"):
    """ALTER TABLE … DROP a property."""

    table: str
    name: str
    if_exists: bool = False


class RenameColumn(Struct, frozen=True, tag="rename_column"):
    """ALTER TABLE … RENAME a property."""

    table: str
    name: str
    to: str


class AddPair(Struct, frozen=True, tag="add_pair"):
    """ALTER TABLE … ADD FROM … TO …: between what else relationships may go."""

    table: str
    source: str
    target: str
    if_not_exists: bool = False


class DropPair(Struct, frozen=True, tag="drop_pair"):
    """ALTER TABLE … DROP FROM … TO …, with the relationships that are there."""

    table: str
    source: str
    target: str
    if_exists: bool = False


Ddl = (
    CreateNodeTable
    | CreateRelTable
    | DropTable
    | RenameTable
    | AddColumn
    | DropColumn
    | RenameColumn
    | AddPair
    | DropPair
)
"""What a statement that defines a schema asks for."""
