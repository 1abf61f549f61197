"""Where a run executes: in this process, on Ray, or at sites over a SuperLink."""
