"""Hold many recordings and their table in a few large Parquet files."""
