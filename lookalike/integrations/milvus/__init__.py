"""Milvus: the vectors of a collection too large for one machine, in a server, a cluster or Milvus Lite.

The server replaces the vector file and the index; the catalog stays with the collection. An image has the same row
number in both, so writing a row twice leaves a single row.
"""
