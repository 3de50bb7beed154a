"""How the core touches the world: one module or folder a technology."""
