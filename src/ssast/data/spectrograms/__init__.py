"""Read power spectrograms in the place of sound, and take them out of Parquet files."""
