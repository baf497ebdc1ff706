"""Read a clinic's own table: which column names the files, whose they are, which labels it holds."""
