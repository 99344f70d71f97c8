"""A server: the coordinator's and shard owners' duties as pure cores, and the loop around them."""
