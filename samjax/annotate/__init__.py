"""The data engine: masks that people make in a browser with a model in the loop, their folder, and what came of it."""
