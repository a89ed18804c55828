"""What a deep Q-network is: networks, heads, bootstrap targets, loss, optimisers, exploration."""
