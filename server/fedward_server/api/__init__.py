"""The coordinator's REST API: the application, its errors, and what concerns no single noun."""
