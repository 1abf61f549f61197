"""One file for each group of commands: arguments in, words and files out."""
