"""The same use cases as tools of the Model Context Protocol: for agents, over HTTP and over standard streams."""
