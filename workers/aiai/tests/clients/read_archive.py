"""Prints rows of Parquet files as NDJSON, with every digit: read_archive.py duckdb|pyarrow|polars <file>…"""

import json
import sys


def with_duckdb(file):
    import duckdb

    result = duckdb.execute("SELECT * FROM read_parquet(?, hive_partitioning = false)", [file])
    names = [column[0] for column in result.description]
    return [dict(zip(names, row)) for row in result.fetchall()]


def with_pyarrow(file):
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(file).read().to_pylist()


def with_polars(file):
    import polars

    return polars.read_parquet(file, hive_partitioning=False).to_dicts()


read = {"duckdb": with_duckdb, "pyarrow": with_pyarrow, "polars": with_polars}[sys.argv[1]]
for file in sys.argv[2:]:
    for row in read(file):
        print(json.dumps(row, default=str))
