"""How things look: tables, pictures, and progress."""
