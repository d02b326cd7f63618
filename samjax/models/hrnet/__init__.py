"""High-resolution networks: branches of several strides side by side, as in HRNet and HRFormer."""
