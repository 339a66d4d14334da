"""What came out: the record of a run, studies, tables, statistics."""
