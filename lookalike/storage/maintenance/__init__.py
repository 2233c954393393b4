"""A whole collection to a better one: verified, recovered, compacted, merged, exported, whitened, indexed."""
