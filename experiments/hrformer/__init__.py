"""HRFormer with object-contextual representations (Yuan et al. 2021)."""
