"""One script for each question about speed or memory; each prints one table, beside the bare limit of the same machine.

make bench                                  all of them
python -m benchmarks.empty_round            one of them
"""
