"""Vectors to their nearest neighbours: exactly, through a FAISS index, and all of them against one another."""
