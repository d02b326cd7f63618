"""Shared vocabulary: types, errors, keys, tree names, configuration. Imports no other package of samjax."""
