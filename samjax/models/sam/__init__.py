"""Segment Anything: image encoder, prompt encoder, mask decoder."""
