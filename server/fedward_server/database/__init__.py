"""Where the coordinator remembers: SQLite or PostgreSQL, the migrations, and nothing of what the tables mean."""
