"""The harness: data, training, evaluation, measuring, comparing, the command line."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas


def table_frame(paper: str, table: str | int) -> "pandas.DataFrame":
    """The cells of a printed table as a DataFrame, one line a cell, with the columns of the JSON report.

    Counts what can be counted (from the result store where it is there already) and sets printed settings
    beside ours; other cells have the verdict `.`. `paper` and `table` are named as for
    `python -m bench table`. Raises tables.RecordError for an unknown one.
    """
    import pandas

    from bench.cells import fill, load_table
    from bench.records import Store
    from bench.render import cell_data

    results = fill(load_table(paper, str(table)), ("counted", "configured"), Store())
    return pandas.DataFrame([cell_data(result) for result in results])
