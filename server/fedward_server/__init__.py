"""The coordinator's side: the round loop and the engines that carry it. No torch."""
