"""DPT (Ranftl et al. 2021): depth and segmentation."""
