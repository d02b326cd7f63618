"""SETR (Zheng et al. 2021)."""
