"""Write Python that passes hidden tests; the programs run in a sandbox."""
