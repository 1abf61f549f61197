"""The hospital's side: answers orders with updates and keeps what is private."""
