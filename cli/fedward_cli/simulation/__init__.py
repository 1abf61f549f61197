"""Runs on this machine: begun, taken up, read back, and looked into where one machine is every site."""
