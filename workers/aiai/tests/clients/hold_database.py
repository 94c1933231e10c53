"""Holds a DuckDB file open until standard input ends: hold_database.py <file>."""

import sys

import duckdb

with duckdb.connect(sys.argv[1]) as connection:
    print("held", flush=True)
    sys.stdin.read()
