"""Local training: phases, optimisers, schedules, evaluation, and the round at a site."""
