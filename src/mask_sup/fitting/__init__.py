"""Analysis by synthesis: poses made to explain the masks of all their calibrated views."""
