"""Planning: from the arguments of `remove` to items, and what is to be done with each."""
