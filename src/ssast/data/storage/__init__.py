"""Read and write what lies on the disk, in a bucket or in the cache."""
