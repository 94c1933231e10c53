"""Prints rows of a DuckDB file as NDJSON, with every digit: read_rows.py <file> <sql>."""

import base64
import json
import sys

import duckdb


def text(value):
    """What JSON cannot hold exactly, as text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


file, sql = sys.argv[1:]
with duckdb.connect(file, read_only=True) as connection:
    result = connection.execute(sql)
    names = [column[0] for column in result.description]
    for row in result.fetchall():
        print(json.dumps(dict(zip(names, row)), default=text))
