"""Every counted and predicted cell of every table, exactly: no arithmetic of a model is run for them."""

from __future__ import annotations

from collections.abc import Iterator

from bench.regress.check import Change, Numbers, Progress, both, gone_or_new, shown

_KINDS = ("counted", "predicted")


class Counts:
    """The cells whose evidence is counted or predicted, in their column's unit; also by the second protocol.

    A count that is in the result store is not repeated: its key holds the version of the sources.
    """

    title = "Counted and predicted cells"
    by_platform = False

    def measure(self, progress: Progress) -> Numbers:
        """By "paper table, row N, column (protocol)"."""
        import tables
        from bench import counting
        from bench.cells import fill, load_table
        from bench.records import Store

        store = Store()
        records = [load_table(paper, table) for paper in tables.papers() for table in tables.tables(paper)]
        jobs = counting.missing(records, store, _KINDS)
        with progress(sum(job.images for job in jobs), "counting") as advance:
            counting.prepare(jobs, store, advance)
        return {
            f"{record.paper} {record.table}, row {cell.row.number}, {cell.column.id} ({protocol})": [
                float(value)
            ]
            for record in records
            for cell in fill(record, _KINDS, store)
            if cell.evidence in _KINDS and cell.measured is not None
            for protocol, value in {cell.protocol: cell.measured, **cell.also}.items()
        }

    def compare(self, was: Numbers, now: Numbers, same_platform: bool) -> Iterator[Change]:
        """Anything that is not equal."""
        yield from gone_or_new("counts", was, now)
        for name, old, new in both(was, now):
            if old != new:
                yield Change("counts", name, shown(old), shown(new), "equal")
