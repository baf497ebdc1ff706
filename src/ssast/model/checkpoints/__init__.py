"""Read and write models as files: own folders, published files, older ones. Nothing in them is executed."""
