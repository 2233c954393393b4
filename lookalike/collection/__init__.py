"""What a user holds: a collection that is asked, written to, and kept in step with its folders."""
