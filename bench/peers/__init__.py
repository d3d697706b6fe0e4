"""One file a peer: the same work, as that peer's own users would write it."""
