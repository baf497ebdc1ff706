"""Keep the output folder of a run: its record, its lock, its way to a bucket, what it notes of recordings."""
