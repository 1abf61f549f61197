"""The fedward command: a thin layer that reads specs, starts engines and shows what comes back."""
