"""The use cases as tools of the Model Context Protocol, for agents, over HTTP and standard streams."""
