"""The child process that trains a checkout's own networks: run by path, by the Python that has the tree's packages."""
