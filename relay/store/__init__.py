"""The only SQL. Every transaction is one function, retried as a whole."""
