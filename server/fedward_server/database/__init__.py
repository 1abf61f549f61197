"""Where the coordinator remembers: SQLite, its migrations, and nothing of what the tables mean."""
