"""The log as columns: compaction to Parquet, exports, and typed columns for SQL readers."""
