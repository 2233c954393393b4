"""Small modules with names of their own that every room may use: paths, cores, progress, timing, download, Parquet."""
