"""All masks of a photo without a prompt (Segment Anything, appendix B)."""
