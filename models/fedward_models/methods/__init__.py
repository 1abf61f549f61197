"""The training methods: each turns a batch into a loss."""
