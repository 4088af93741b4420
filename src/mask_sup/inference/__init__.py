"""From pictures to poses: what a detector sees, fitted to masks where views are calibrated."""
