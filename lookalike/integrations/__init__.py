"""Other programs' engines: vectors in a search server, embedding on a cluster."""
