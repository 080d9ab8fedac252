"""What the papers print, one TOML file a table, and the loader for it. Standard library only; knows no
models.
"""

from tables.loader import PresetCheck, load, load_file, paper, papers, tables
from tables.names import printed_name
from tables.reader import RecordError
from tables.record import Cell, Claim, Column, Mention, Paper, Printed, Row, TableRecord, Tolerance

__all__ = [
    "Cell",
    "Claim",
    "Column",
    "Mention",
    "Paper",
    "PresetCheck",
    "Printed",
    "RecordError",
    "Row",
    "TableRecord",
    "Tolerance",
    "load",
    "load_file",
    "paper",
    "papers",
    "printed_name",
    "tables",
]
