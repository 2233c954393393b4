"""The vectors of a collection in PostgreSQL with pgvector."""
