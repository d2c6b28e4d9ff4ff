"""A Charades-style CSV, row by row or many rows at once, to a ClipTable: see csv_rows.py."""
