"""What one H100 trains on, for scripts that hold other rates against it."""

H100_CLIPS = 1186.0
"""Clips of 10 s a second in the joint step of base, 128 clips, compiled: docs/performance.md, by `gpu.py`."""
H100_LATE_CLIPS = 3184.0
"""The same with `--mask_layer 10`."""
