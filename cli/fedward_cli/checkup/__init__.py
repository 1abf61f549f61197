"""What ``fedward doctor`` looks at: the machine, the way to the coordinator, a site's home folder, a coordinator's."""
