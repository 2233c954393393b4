"""A question to a ranking: query, gallery, candidates, fusion and re-ranking."""
