"""The adapters that fill the core's ports: one module or folder per technology."""
