"""The shared vocabulary: types, errors, keys, tree names, configuration. Imports nothing of ours."""
