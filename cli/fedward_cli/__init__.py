"""The fedward command."""
