"""Measured speed: frames a second of the rows of a table, on the device at hand.

Those of two machines cannot be compared, ratios between the rows of one table can: see `compare.py`.
"""

from bench.speed.compare import RATIO, RAW, Speed, speeds
from bench.speed.saved import Measurement, read, save, saved_path
from bench.speed.timing import Timed, time_table

__all__ = [
    "RATIO",
    "RAW",
    "Measurement",
    "Speed",
    "Timed",
    "read",
    "save",
    "saved_path",
    "speeds",
    "time_table",
]
