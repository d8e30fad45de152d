"""Bytes on disk -> uint8 batches: builders, reading, order; and augmentation on the device."""
