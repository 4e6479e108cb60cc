"""A suite as plain functions of a record, with Great Expectations' verdicts, for requests."""
