"""A collection on disk: catalog, vectors and manifest, kept in step, with filters and metadata."""
