"""The database: connections and transactions, dialects, tables, migrations, the clock."""
